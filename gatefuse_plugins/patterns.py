"""The one pattern language of the package: dotted globs over module and parameter names.

A pattern is a sequence of segments joined by dots and always matches a whole name, dot to dot::

    transformer.t2v_encoder.layers.*     each layer, not what lies inside it
    **.gate_tap                          at any depth, the top level included
    layers.{0,2,4}.**                    layers 0, 2 and 4 with everything inside them

``*`` is any run of characters and ``?`` any one character within a segment, ``**`` (a segment by itself) any number
of segments, none included, and ``{a,b}`` one of the alternatives. There is nothing else to learn, and no escape:
names of modules and parameters contain none of these characters.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from gatefuse_plugins.errors import PatternError, nearest

_TOKEN = re.compile(r"\*|\?|\{[^{}]*\}|[^*?{}]+")
_LITERAL = re.compile(r"[\w\-/:@+]*")
_ALTERNATIVE = re.compile(r"[\w\-/:@+*?]+")
_GRAMMAR = "expected segments joined by dots, made of names, '*', '?', '{a,b}', or '**' as a segment by itself"


@functools.lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of a dotted glob; use it with ``fullmatch``.

    Raises:
        PatternError: the pattern is malformed; the message quotes the faulty segment.
    """
    if not isinstance(pattern, str) or not pattern:
        raise PatternError(f"pattern {pattern!r} is empty or no string; {_GRAMMAR}")
    # A leading '**' brings its own trailing dots, every other one its leading dots; so a segment that follows the
    # leading '**' must not add a dot again.
    expression, dot = "", ""
    for segment in _collapse(pattern.split(".")):
        if segment != "**":
            expression += dot + _segment_expression(segment, pattern)
            dot = r"\."
        elif expression:
            expression += r"(?:\.[^.]+)*"
        else:
            expression = r"(?:[^.]+\.)*"
    return re.compile(".*" if expression == r"(?:[^.]+\.)*" else expression)


def match_names(pattern: str, names: Iterable[str], host: str = "the model") -> list[str]:
    """The members of ``names`` that ``pattern`` matches, in their own order.

    Args:
        pattern: a dotted glob.
        names: dotted names; a root module's name is the empty string, which only ``**`` matches.
        host: class name of the module that the names belong to, for the error message.

    Raises:
        PatternError: the pattern is malformed or matches nothing; names the pattern, the host and the nearest names.
    """
    expression = compile_pattern(pattern)
    pool = list(names)
    matched = [name for name in pool if expression.fullmatch(name)]
    if not matched:
        raise PatternError(f"pattern {pattern!r} matches nothing in {host}{_hint(pattern, pool)}")
    return matched


def _collapse(segments: list[str]) -> list[str]:
    """Drop each ``**`` that follows another: together they mean no more, and a regex would backtrack over both."""
    return [part for at, part in enumerate(segments) if part != "**" or at == 0 or segments[at - 1] != "**"]


def _segment_expression(segment: str, pattern: str) -> str:
    tokens = _TOKEN.findall(segment)
    if not segment or "**" in segment or "".join(tokens) != segment:
        raise PatternError(f"pattern {pattern!r} is malformed at segment {segment!r}; {_GRAMMAR}")
    return "".join(_token_expression(token, segment, pattern) for token in tokens)


def _token_expression(token: str, segment: str, pattern: str) -> str:
    if token in "*?":
        return "[^.]*" if token == "*" else "[^.]"
    if token.startswith("{"):
        alternatives = token[1:-1].split(",")
        if all(_ALTERNATIVE.fullmatch(choice) and "**" not in choice for choice in alternatives):
            return "(?:" + "|".join(_segment_expression(choice, pattern) for choice in alternatives) + ")"
    elif _LITERAL.fullmatch(token):
        return re.escape(token)
    raise PatternError(f"pattern {pattern!r} is malformed at {token!r} of segment {segment!r}; {_GRAMMAR}")


def _hint(pattern: str, names: list[str]) -> str:
    """Names that read like the pattern, compared at the pattern's depth so that children do not crowd them out."""
    named = [name for name in names if name]
    if not named:
        return ", which has no named part to match"
    depth = pattern.count(".") + 1
    shortened = [".".join(name.split(".")[:depth]) for name in named]
    near = nearest(pattern, shortened) or nearest(pattern.replace("*", "").strip("."), named) or sorted(set(named))[:3]
    return "; nearest names: " + ", ".join(repr(name) for name in near)
