"""Parameter counts, the start of the weights, what the recorder finds, and options that contradict each other."""

from __future__ import annotations

import pytest
import torch
from tiny_avigate import tiny_avigate, tiny_batch

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.avigate import FusionOptions, build_avigate
from gatefuse_plugins.recording.recorder import record_gates


def test_published_parameter_counts_and_the_query_gates_own_start() -> None:
    torch.manual_seed(0)
    plain, gated = build_avigate(resampler_layers=1), build_avigate(resampler_layers=1, query_gate="scalar")
    extra = set(gated.state_dict()) - set(plain.state_dict())
    blocks = [f"transformerClip.resblocks.{n}.query_gate" for n in range(4)]
    assert extra == {f"{block}.{layer}.weight" for block in blocks for layer in ("qg_fc", "qg_proj")}
    assert sum(gated.state_dict()[name].numel() for name in extra) == 1_573_888
    for block in gated.transformerClip.resblocks:
        # kaiming_uniform's bound 1 / sqrt(3 * 512); the host's own layers are normal with 0.02, so they exceed it
        assert block.query_gate.qg_fc.weight.abs().max() <= 1536**-0.5 < block.attn_gate.ag_fc.weight.abs().max()
        assert block.query_gate.qg_fc.weight.std().item() == pytest.approx((3 * 1536) ** -0.5, rel=0.02)
        assert block.attn_gate.ag_fc.weight.std().item() == pytest.approx(0.02, rel=0.02)
    torch.testing.assert_close(plain.query_tokens.T @ plain.query_tokens, torch.eye(12), atol=1e-5, rtol=0)


def test_the_recorder_reads_every_gate() -> None:
    model = tiny_avigate(query_gate="headwise", layer_decay="learnable")
    with torch.no_grad(), record_gates(model, "**.query_gate.tap") as gates:
        model(**tiny_batch())
    summary = gates.summary()
    assert list(summary) == [f"transformerClip.resblocks.{layer}.query_gate.tap" for layer in (0, 1)]
    assert all(0 < item.mean < 1 and item.kind == "query" for item in summary.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query_gate": "head"}, "query_gate: 'head' is unknown; did you mean 'headwise'"),
        ({"dual_path": True}, "dual_path: needs query_gate"),
        ({"text_alignment": "attention"}, "text_alignment: needs query_gate"),
        ({"gating": False, "layer_decay": "fixed"}, "layer_decay: needs gating=True"),
        ({"gating": False, "text_gates": True}, "text_gates: needs gating=True"),
        ({"decay_ffn": True}, "decay_ffn: needs layer_decay"),
        ({"attention_temperature": 0.0}, "attention_temperature: 0.0, expected a number above 0"),
        ({"dual_path": True, "gate_pooling": "max"}, "gate_pooling.*dual_path"),
    ],
)
def test_options_that_do_not_go_together_are_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FusionOptions(**options)
