"""The dotted glob language: what each wildcard crosses, and what its errors say."""

from __future__ import annotations

import pytest

from gatefuse_plugins.errors import PatternError
from gatefuse_plugins.patterns import compile_pattern, match_names

NAMES = [
    "",
    "fusion",
    "fusion.gate_tap",
    "transformer.layers.0",
    "transformer.layers.0.norm1",
    "transformer.layers.1",
    "transformer.layers.2",
    "transformer.layers.10",
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("fusion", ["fusion"]),
        ("transformer.layers.*", [NAMES[3], NAMES[5], NAMES[6], NAMES[7]]),
        ("transformer.layers.?", [NAMES[3], NAMES[5], NAMES[6]]),
        ("transformer.layers.{0,2}", [NAMES[3], NAMES[6]]),
        ("transformer.layers.{0,1?}", [NAMES[3], NAMES[7]]),
        ("transformer.layers.0.**", [NAMES[3], NAMES[4]]),
        ("transformer.**.norm1", [NAMES[4]]),
        ("**.gate_tap", ["fusion.gate_tap"]),
        ("**.fusion", ["fusion"]),
        ("**.**.norm*", [NAMES[4]]),
        ("fusion.**.gate_tap", ["fusion.gate_tap"]),
        ("**", NAMES),
    ],
)
def test_wildcards(pattern: str, expected: list[str]) -> None:
    assert match_names(pattern, NAMES) == expected


def test_anchored_at_dots_and_literal() -> None:
    assert not compile_pattern("layers.1").fullmatch("layers.10")
    assert not compile_pattern("layers.1").fullmatch("transformer.layers.1")
    assert not compile_pattern("a.b").fullmatch("axb")


@pytest.mark.parametrize(
    "pattern", ["", ".", "a..b", ".a", "a.", "a.b**", "***", "{a", "a}", "{}", "{a,}", "a.[0]", "a b"]
)
def test_malformed(pattern: str) -> None:
    with pytest.raises(PatternError, match="expected segments joined by dots") as caught:
        match_names(pattern, NAMES)
    assert repr(pattern) in str(caught.value)


def test_no_match_names_pattern_host_and_nearest() -> None:
    with pytest.raises(PatternError) as caught:
        match_names("transformr.layers.*", NAMES, host="QDDETR")
    message = str(caught.value)
    assert "'transformr.layers.*'" in message
    assert "QDDETR" in message
    assert "'transformer.layers.0'" in message


def test_no_match_among_no_names() -> None:
    with pytest.raises(PatternError, match="no named part"):
        match_names("a.*", [""])
