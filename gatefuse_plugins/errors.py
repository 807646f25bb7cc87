"""Typed errors. Every message says what was wrong, where, what was expected and the nearest valid choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GatefuseError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(GatefuseError, ValueError):
    """One or more faults of a config; ``str(error)`` lists them all."""


class DataError(GatefuseError, ValueError):
    """Data on disk is missing, unreadable or contradicts itself."""


class WeightsUnavailableError(GatefuseError, FileNotFoundError):
    """Pre-trained weights are neither on disk nor reachable; the message says which files to put where."""


class CheckpointError(GatefuseError, RuntimeError):
    """A checkpoint cannot be read, or does not belong to the model that it is loaded into."""


class PatternError(GatefuseError, KeyError):
    """A name pattern is malformed or matches nothing."""

    def __str__(self) -> str:  # KeyError quotes its argument, which makes long messages unreadable
        return str(self.args[0]) if self.args else ""


class NonFiniteLossError(GatefuseError, FloatingPointError):
    """A training loss became NaN or infinite; the last good checkpoint was kept."""


def nearest(name: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """The ``count`` members of ``choices`` that read most like ``name``, best first (may be empty)."""
    pool = sorted({str(choice) for choice in choices})
    by_folded: dict[str, str] = {choice.lower(): choice for choice in pool}
    found = difflib.get_close_matches(name.lower(), list(by_folded), n=count, cutoff=0.4)
    return [by_folded[key] for key in found]


def suggestion(name: str, choices: Iterable[str]) -> str:
    """A clause to append to a message: ``"; did you mean 'x'?"``, or the valid names where none is near."""
    pool = sorted({str(choice) for choice in choices})
    near = nearest(name, pool)
    if near:
        return "; did you mean " + " or ".join(repr(choice) for choice in near) + "?"
    return f"; valid: {', '.join(pool)}" if pool else ""
