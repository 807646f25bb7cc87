"""Where inserted fusions get their context from, and what happens where there is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from injection_hosts import AUDIO, D, Encoder, inputs, stir
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.injection import fusion_context, inject

FUSION = {"type": "GatedCrossAttention", "num_heads": 2}


def injected(**rule: Any) -> Encoder:
    host = Encoder()
    inject(host, [{"pattern": "layers.1", "fusion": FUSION, "dim": D, "context_dim": AUDIO, **rule}])
    stir(host)
    return host


def test_the_same_stream_by_argument_by_module_and_by_scope() -> None:
    class Host(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Encoder()
            self.audio = nn.Identity()

        def forward(self, audio: Tensor, **batch: Tensor) -> Tensor:
            self.audio(audio)
            return self.inner(**batch)

    batch = inputs()
    audio = batch.pop("audio")
    found = []
    for context in ({"argument": "audio"}, {"module": "audio"}, {"given": "sound"}):
        host = Host()
        rule = {"pattern": "inner.layers.1", "fusion": FUSION, "dim": D, "context_dim": AUDIO, "context": context}
        torch.manual_seed(2)
        inject(host, [rule])
        stir(host)
        with fusion_context(sound=audio):
            found.append(host(audio, **batch))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], Host()(audio, **batch))


def test_scopes_nest_and_end() -> None:
    host, batch = injected(context={"given": "audio"}), inputs()
    other = batch["audio"] + 1
    with fusion_context(audio=batch["audio"]):
        outer = host(**batch)
        with fusion_context(audio=other):
            inner = host(**batch)
        assert torch.equal(host(**batch), outer)
    assert not torch.equal(inner, outer)
    with pytest.raises(DataError, match=r"run inside fusion_context\(audio=...\); no fusion_context is open"):
        host(**batch)
    with fusion_context(adio=other), pytest.raises(DataError, match="did you mean 'adio'"):
        host(**batch)
    with pytest.raises(ZeroDivisionError), fusion_context(audio=other):
        raise ZeroDivisionError
    with pytest.raises(DataError, match="no fusion_context is open"):
        host(**batch)


def test_masks_leave_padding_out() -> None:
    host = injected(context={"argument": "audio"}, context_mask={"given": "audio_mask"})
    batch = inputs()
    mask = torch.tensor([[True, True, False, False], [False] * 4])
    with fusion_context(audio_mask=mask):
        first = host(**batch)
        assert torch.equal(host(**batch | {"audio": batch["audio"].masked_fill(~mask[..., None], 9.0)}), first)
        assert torch.equal(first[1], Encoder()(**batch)[1])  # no valid context: unchanged
    assert not torch.equal(host(**batch), first)  # a mask may be left out: all positions are valid


@pytest.mark.parametrize(
    ("context", "call", "message"),
    [
        ({"argument": "audio"}, {"audio": None}, "argument 'audio', which is None or left out in this call"),
        ({"module": "parts.head"}, {}, "module 'parts.head', which has not run yet in this forward"),
        ({"argument": "audio", "select": 1}, {}, "is Tensor; select=1 is no tensor in it"),
    ],
)
def test_a_missing_context_is_named_and_the_host_recovers(context: dict, call: dict, message: str) -> None:
    host, batch = injected(context=context), inputs()
    for _ in range(2):
        with pytest.raises(DataError, match=message):
            host(**batch | call)
    store = next(iter(host.layers[1]._forward_hooks.values())).store
    assert store.frame is None


@pytest.mark.parametrize(
    ("rule", "shape", "message"),
    [
        ({}, (2, 4, 7), r"argument 'audio' has shape \(2, 4, 7\), 7 wide, but its GatedCrossAttention takes 5"),
        ({}, (2, 0, 5), r"shape \(2, 0, 5\); expected \(B, M, 5\) with one position or more"),
        ({}, (2, 5), r"shape \(2, 5\); expected \(B, M, 5\)"),
        ({"dim": 4}, (2, 4, 5), "output of layers.1 is 8 wide, but its GatedCrossAttention takes 4; set dim"),
    ],
)
def test_streams_that_do_not_fit_without_an_example(rule: dict, shape: tuple[int, ...], message: str) -> None:
    host = injected(context={"argument": "audio"}, **rule)
    with pytest.raises(DataError, match=message):
        host(**inputs() | {"audio": torch.zeros(shape)})


def test_a_part_of_the_host_alone_has_no_arguments() -> None:
    host = injected(context={"argument": "audio"})
    with pytest.raises(DataError, match="the host's own forward does not run"):
        host.layers[1](inputs()["x"])


def test_nothing_is_kept_after_a_forward() -> None:
    host = injected(context={"module": "text"}, context_dim=D)
    with torch.no_grad():
        host(**inputs())
    store = next(iter(host.layers[1]._forward_hooks.values())).store
    assert (store.frame, store.past) == (None, None)


def test_outputs_that_are_mappings_and_named_tuples() -> None:
    class Inner(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"hidden": x, "other": x + 1}

    class Host(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return self.inner(x)

    x, rule = inputs()["x"], {"pattern": "inner", "gate": {"type": "ResidualGate"}}
    host = Host()
    inject(host, [rule])
    with pytest.raises(DataError, match="output of inner is a mapping of hidden, other"):
        host(x)
    host = Host()
    inject(host, [rule | {"select": "hidden"}])
    stir(host)
    torch.testing.assert_close(host(x)["hidden"], x * (1 + torch.tanh(torch.tensor(0.3))))
    assert torch.equal(host(x)["other"], x + 1)
    with pytest.raises(ConfigError, match="expected one rule a place"):
        inject(Host(), [rule, rule])
