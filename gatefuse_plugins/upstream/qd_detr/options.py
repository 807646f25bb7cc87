"""Command-line flags of a patched QD-DETR, and the entry points behind them.

Names and defaults of the gate flags are those of QD-DETR-exp (``qd_detr/config.py``, branch
``feat/gate_analysis_junhan_v2-0812``). A flag that is not given leaves no trace in ``opt``, so that ``opt.json`` and
runs without flags are what they were.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gatefuse_plugins.errors import ConfigError, GatefuseError

if TYPE_CHECKING:
    from torch import nn

FUSION_TYPES = {"use_avigate_custom": "AvigateCustomFusion", "use_temporal_gate": "QueryAwareTemporalGate"}
GATE_FLAGS: dict[str, tuple[type, str]] = {
    "fusion_layers": (int, "fusion layers (4)"),
    "fusion_n_heads": (int, "heads of the fusion's self-attention (4)"),
    "gating_type": (str, "global, clipwise or elementwise (global)"),
    "mha_gate_temp": (float, "temperature of the attention gate (1.5)"),
    "mha_gate_bias_init": (float, "start of its bias (1.0)"),
    "mha_gate_scale_init": (float, "start of its scale (1.0)"),
    "ffn_gate_alpha_init": (float, "start of the FFN gate's scale (0.3)"),
    "ffn_gate_beta_init": (float, "start of the FiLM shift's scale (0.3)"),
}
MARK, LOG_MARK = "gatefuse", "gatefuse_log"


def add_flags(parser: argparse.ArgumentParser, testing: bool) -> None:
    """Add the flags of the fusion and, for ``testing``, of the gate log to QD-DETR's parser."""
    group = parser.add_argument_group("gatefuse", "gated fusion of audio; needs --a_feat_dir and --a_feat_dim")
    _add(group, "fusion_cfg", MARK, "YAML or JSON file with a `fusion:` section", type=_read_fusion, metavar="FILE")
    _add(group, "use_avigate_custom", MARK, "fusion AvigateCustomFusion", nargs=0, const=True)
    _add(group, "use_temporal_gate", MARK, "fusion QueryAwareTemporalGate", nargs=0, const=True)
    for name, (kind, text) in GATE_FLAGS.items():
        _add(group, name, MARK, text, type=kind)
    _add(group, "ffn_gate_film", MARK, "modulate the FFN branch instead of gating it", nargs=0, const=True)
    if testing:
        _add(group, "gate_log", LOG_MARK, "write the gates of single samples", nargs=0, const=True)
        _add(group, "gate_sample_count", LOG_MARK, "log the first so many samples; -1, the default: all", type=int)
        _add(
            group, "gate_save_path", LOG_MARK, "the log; a name without .jsonl is the folder of a gate store", type=str
        )


def requested_fusion(opt: argparse.Namespace) -> dict[str, Any] | None:
    """The fusion's config that the flags in ``opt`` ask for; ``None``: there is no such flag.

    Raises:
        ConfigError: flags that contradict each other, or belong to no fusion.
    """
    given = vars(opt)
    named = [flag for flag in ("fusion_cfg", *FUSION_TYPES) if given.get(flag)]
    settings = {name: given[name] for name in (*GATE_FLAGS, "ffn_gate_film") if name in given}
    if len(named) > 1:
        raise ConfigError(f"{' and '.join(f'--{flag}' for flag in named)}: give one of them")
    if not named:
        if settings:
            flags = " ".join(f"--{name}" for name in settings)
            raise ConfigError(f"{flags}: no fusion to apply to; add --fusion_cfg FILE or --use_avigate_custom")
        return None
    config = json.loads(opt.fusion_cfg) if named == ["fusion_cfg"] else {"type": FUSION_TYPES[named[0]]}
    return config | settings


def attach_fusion(model: nn.Module, opt: argparse.Namespace) -> None:
    """Give the model that QD-DETR built the fusion that ``opt`` asks for; see :func:`fuse.attach`.

    Raises:
        ConfigError: see :func:`requested_fusion` and :func:`fuse.attach`.
    """
    from gatefuse_plugins.upstream.qd_detr.fuse import attach

    config = requested_fusion(opt)
    if config is not None:
        attach(model, config, opt.v_feat_dim, opt.a_feat_dim if opt.a_feat_dir else None)


def logging_gates(model: nn.Module, dataset: Any, opt: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    """Scope in which an evaluation of ``dataset``, in its order, writes its gates; see :func:`gate_log.write_gates`.

    ``opt`` asks for no log while the scope is being opened, so the evaluation may call itself inside.

    Raises:
        ConfigError: flags of the log without ``--gate_log``, or a count that is neither -1 nor from 1.
    """
    from gatefuse_plugins.upstream.qd_detr.gate_log import write_gates

    given = {name: vars(opt).pop(name) for name in ("gate_sample_count", "gate_save_path") if name in vars(opt)}
    asked = bool(vars(opt).pop("gate_log", False))
    vars(opt).pop(LOG_MARK, None)
    if not asked:
        raise ConfigError(f"{' '.join(f'--{name}' for name in given)}: nothing is logged; add --gate_log")
    return write_gates(
        model,
        dataset.data,
        opt.results_dir,
        opt.eval_split_name,
        given.get("gate_sample_count", -1),
        given.get("gate_save_path"),
    )


def leading_arguments(argv: Sequence[str]) -> list[str]:
    """The seven words that QD-DETR's inference script unpacks, whatever the order of its options and beside others.

    Returns:
        ``[script, "--resume", R, "--eval_split_name", S, "--eval_path", P]``.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--resume", "--eval_split_name", "--eval_path"):
        parser.add_argument(flag, required=True)
    found, _others = parser.parse_known_args(list(argv[1:]))
    return [argv[0], *(word for name, value in vars(found).items() for word in (f"--{name}", value))]


class _Given(argparse.Action):
    """Stores a value and marks that a flag of its group was given; flags without a value store ``const``."""

    def __init__(self, *args: Any, mark: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mark = mark

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        setattr(namespace, self.dest, self.const if self.nargs == 0 else values)
        setattr(namespace, self.mark, True)


def _add(group: Any, name: str, mark: str, text: str, **options: Any) -> None:
    group.add_argument(f"--{name}", action=_Given, mark=mark, default=argparse.SUPPRESS, help=text, **options)


def _read_fusion(path: str) -> str:
    """A file's fusion as JSON text, which ``opt.json`` and the checkpoint can hold."""
    from gatefuse_plugins.upstream.fusion_file import read_fusion_file

    try:
        content = read_fusion_file(path)
        for key in content:
            if key != "fusion":
                raise ConfigError(f"{path}: key {key!r} has no effect here; expected 'fusion' alone")
        return json.dumps(content["fusion"])
    except GatefuseError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
