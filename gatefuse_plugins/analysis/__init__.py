"""Answers about a trained model: one question a file, one dataclass an answer; drawing stands apart."""
