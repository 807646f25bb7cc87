"""Flags of a patched QD-DETR."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.upstream.qd_detr.options import add_flags, leading_arguments, requested_fusion

FUSION = "fusion:\n  type: AvigateCustomFusion\n  fusion_layers: 2\n"


def parse(*words: str, testing: bool = True) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1.0)
    add_flags(parser, testing)
    return parser.parse_args(list(words))


def test_flags_that_are_not_given_leave_no_trace() -> None:
    assert vars(parse("--lr", "2")) == {"lr": 2.0}


def test_a_file_and_flags_over_it(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(FUSION)
    opt = parse("--fusion_cfg", str(tmp_path / "f.yaml"), "--gating_type", "clipwise", "--mha_gate_temp", "2")
    assert opt.gatefuse is True
    assert isinstance(opt.fusion_cfg, str)  # opt.json and the options' table hold it
    expected = {"type": "AvigateCustomFusion", "fusion_layers": 2, "gating_type": "clipwise", "mha_gate_temp": 2.0}
    assert requested_fusion(opt) == expected
    opt = parse("--use_avigate_custom", "--ffn_gate_film", "--ffn_gate_beta_init", "0.1")
    assert requested_fusion(opt) == {"type": "AvigateCustomFusion", "ffn_gate_film": True, "ffn_gate_beta_init": 0.1}
    assert requested_fusion(parse("--use_temporal_gate")) == {"type": "QueryAwareTemporalGate"}
    assert requested_fusion(parse()) is None


def test_flags_that_fit_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"--gating_type: no fusion to apply to; add --fusion_cfg"):
        requested_fusion(parse("--gating_type", "global"))
    with pytest.raises(ConfigError, match="--use_avigate_custom and --use_temporal_gate: give one of them"):
        requested_fusion(parse("--use_avigate_custom", "--use_temporal_gate"))
    with pytest.raises(SystemExit):
        parse("--gate_log", testing=False)
    assert "unrecognized arguments: --gate_log" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fusion: !!python/object/apply:os.system ['true']\n", "cannot be read as YAML or JSON of plain values"),
        ("fusion: {type: A}\nfusion: {type: B}\n", "cannot be read as YAML"),
        ("model: {}\n", "no section 'fusion' with the keys of a fusion; found model"),
        ("fusion: {fusion_layers: 2}\n", "fusion lacks its 'type'"),
        ("", "no section 'fusion'"),
        ("fusion: {type: A}\nvision: {}\n", "key 'vision' has no effect here; expected 'fusion' alone"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(SystemExit):
        parse("--fusion_cfg", str(tmp_path / "f.yaml"))
    assert message in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit):
        parse("--fusion_cfg", str(tmp_path / "g.yaml"))
    assert "no such file; did you mean" in " ".join(capsys.readouterr().err.split())


def test_the_words_that_the_inference_script_unpacks() -> None:
    argv = [
        "inference.py",
        "--gate_log",
        "--eval_path",
        "p",
        "--resume",
        "r",
        "--nms_thd",
        "0.7",
        "--eval_split_name",
        "s",
    ]
    words = leading_arguments(argv)
    assert words == ["inference.py", "--resume", "r", "--eval_split_name", "s", "--eval_path", "p"]
