"""Modes of a host's forward, as mmengine's Runner and ``BaseModel`` name them."""

from __future__ import annotations

from gatefuse_plugins.errors import suggestion

MODES = ("loss", "predict", "tensor")


def unknown_mode(host: str, mode: object) -> ValueError:
    """What the forward of ``host`` raises for a ``mode`` that is none of :data:`MODES`."""
    return ValueError(f"{host} mode {mode!r} is unknown{suggestion(str(mode), MODES)}")
