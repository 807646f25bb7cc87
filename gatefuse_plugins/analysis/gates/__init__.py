"""What recorded gates say: one question a file, one dataclass an answer; see docs/analysis.md."""
