"""What ``tools/patch_upstream.py`` prints."""

from __future__ import annotations

from typing import Any

from gatefuse_plugins.upstream.changes import ChangeReport, explain_drift
from gatefuse_plugins.upstream.faults import find_faults
from gatefuse_plugins.upstream.tree import TreeState

_NEXT = {
    "interrupted": "A change was interrupted: `apply` or `revert` completes it first.",
    "partly patched": "Some files are patched and others are not: `apply` completes, `revert` restores.",
}


def state_lines(state: TreeState) -> list[str]:
    """A checkout's state and faults, for people."""
    patch_set = state.patch_set
    known = f"{patch_set.repository} {patch_set.commit[:7]}"
    if state.kind == "unknown":
        return [f"unknown: {explain_drift(state)}"]
    applied = [patch.name for patch in patch_set.patches if patch.name in state.applied]
    lines = [f"{state.kind}: {known}" + (f" with {', '.join(applied)}" if applied else "")]
    if any(file.crlf for file in state.files):
        lines.append("Line ends are CRLF, and stay so.")
    if state.kind in _NEXT:
        lines.append(_NEXT[state.kind])
    if state.drifted:
        lines.append(explain_drift(state))
    for patch in patch_set.patches:
        if patch.name not in state.applied and not state.drifted:  # what a fork cannot have is not offered
            option = "apply" if patch.name not in patch_set.fixes else f"apply --fix {patch.name}"
            lines.append(f"{option}: {patch.summary}")
    faults = find_faults(state.root, patch_set)
    lines += ["Faults of upstream:"] if faults else []
    for fault in faults:
        fix = f" (--fix {fault.fix})" if fault.fix and not state.drifted else ""
        lines.append(f"  {fault.place}: {fault.message}{fix}")
    return lines


def state_record(state: TreeState) -> dict[str, Any]:
    """The same as plain values; an unknown tree has no upstream."""
    if state.kind == "unknown":
        expected = [patch_set.name for patch_set in state.known]
        return {"root": str(state.root), "upstream": None, "state": state.kind, "expected": expected}
    return {
        "root": str(state.root),
        "upstream": state.patch_set.name,
        "commit": state.patch_set.commit,
        "state": state.kind,
        "applied": sorted(state.applied),
        "fixes": list(state.patch_set.fixes),
        "files": {file.path: None if file.applied is None else sorted(file.applied) for file in state.files},
        "nearest": None if state.nearest is None else {"commit": state.nearest[0], "files": state.nearest[1]},
        "faults": [vars(fault) for fault in find_faults(state.root, state.patch_set)],
    }


def change_lines(report: ChangeReport) -> list[str]:
    """What was changed."""
    lines = [f"completed an interrupted change: {path}" for path in report.completed]
    lines += [f"changed {path}" for path in report.changed]
    applied = ", ".join(sorted(report.state.applied)) or "nothing"
    return [*lines, f"{'done' if lines else 'nothing to do'}; applied now: {applied}"]
