"""AVIGATE custom fusion: parity with both published generations, neutral gates, padding, samples without audio."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from oracles import TOLERANCE, fill, load_oracle
from torch import Tensor
from torch.nn import functional as F

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.fusions import AvigateCustomFusion
from gatefuse_plugins.gates import GateTap, gate_parameters, gate_taps
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.registry import FUSIONS

D = 8
LENGTHS = [6, 4, 1]
VARIANTS = [
    (generation, granularity)
    for generation in ("tanh", "sigmoid", "sigmoid_film")
    for granularity in ("global", "clipwise", "elementwise")
]


def build(generation: str = "sigmoid", gating_type: str = "global", **options: Any) -> AvigateCustomFusion:
    torch.manual_seed(1)
    film = generation.endswith("film")
    defaults = {"dim": D, "fusion_layers": 2, "fusion_n_heads": 2, "ffn_gate_film": film, "gating_type": gating_type}
    return AvigateCustomFusion(**{**defaults, "generation": generation.split("_")[0], **options}).eval()


def streams() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    video, audio = torch.randn(2, len(LENGTHS), max(LENGTHS), D, generator=generator)
    return video, audio, torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]


def watch(fusion: torch.nn.Module) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    for name, tap in gate_taps(fusion):
        tap.register_forward_hook(lambda _, __, value, name=name: seen.update({name: value}))
    return seen


@pytest.mark.parametrize(("generation", "granularity"), VARIANTS)
def test_parity_with_upstream(generation: str, granularity: str) -> None:
    manifest, arrays = load_oracle("avigate_fusion_custom")
    variant = f"{generation}_{granularity}"
    fusion = build(generation, granularity, dim=32, fusion_n_heads=4, pool="mean")
    assert set(fusion.state_dict()) == set(manifest[variant])
    fusion.load_state_dict({name: fill(name, shape) for name, shape in manifest[variant].items()}, strict=True)
    seen = watch(fusion)
    mask = torch.from_numpy(arrays["in_video_mask"]).bool()
    with torch.no_grad():
        out = fusion(torch.from_numpy(arrays["in_video"]), torch.from_numpy(arrays["in_audio"]), x_mask=mask)
    torch.testing.assert_close(out, torch.from_numpy(arrays[f"{variant}_out"]), **TOLERANCE)
    for layer in range(2):
        for tap, stored in (("attention_tap", "gate_mha"), ("ffn_tap", "gate_ffn")):
            value = seen[f"fusion_layers.{layer}.gating_function.{tap}"]
            expected = torch.from_numpy(arrays[f"{variant}_layer{layer}_{stored}"])
            torch.testing.assert_close(value.expand_as(expected), expected, **TOLERANCE)


def test_defaults_are_those_of_upstream() -> None:
    fusion = AvigateCustomFusion(dim=256)
    first = fusion.fusion_layers[0].gating_function
    assert len(fusion.fusion_layers) == 4 and fusion.fusion_layers[0].num_heads == 4
    scalars = {name: getattr(first, name).item() for name in ("mha_bias", "mha_scale", "ffn_alpha")}
    assert scalars == pytest.approx({"mha_bias": 1.0, "mha_scale": 1.0, "ffn_alpha": 0.3})
    assert first.options.mha_gate_temp == 1.5 and first.mlp_ffn_beta is None
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 6_322_196


def test_film_formula_of_the_gated_part() -> None:
    video, audio, _ = streams()
    fusion = build("sigmoid_film", "clipwise", fusion_layers=1)
    layer = fusion.fusion_layers[0]
    seen = watch(fusion)
    out = fusion(video, audio)
    gates = layer.gating_function
    raw = gates.mlp_ffn_beta(torch.cat([video, audio], dim=-1))
    torch.testing.assert_close(seen["fusion_layers.0.gating_function.shift_tap"], torch.tanh(raw) * gates.ffn_beta)
    attention, ffn, shift = (
        seen[f"fusion_layers.0.gating_function.{name}_tap"] for name in ("attention", "ffn", "shift")
    )
    z = video + attention * layer.delta_norm_mha(layer.out_proj(layer.a_proj(layer.norm1(audio))))
    z = z + layer.delta_norm_ffn(layer.ffn1(layer.norm2(z))) * (1 + ffn) + shift
    normed = layer.norm3(z)
    z = z + layer.self_attention(normed, normed, normed, need_weights=False)[0]
    torch.testing.assert_close(out, z + layer.ffn2(layer.norm4(z)))


@pytest.mark.parametrize(("generation", "granularity"), VARIANTS)
def test_at_neutral_gates_audio_changes_nothing(generation: str, granularity: str) -> None:
    video, audio, mask = streams()
    fusion = build(generation, granularity)
    open_difference = (fusion(video, audio, x_mask=mask) - fusion(video, -audio, x_mask=mask)).abs().max()
    for _, tap in gate_taps(fusion):
        tap.register_forward_hook(lambda tap, _, value: torch.full_like(value, tap.neutral))
    assert open_difference > 1e-3
    assert torch.equal(fusion(video, audio, x_mask=mask), fusion(video, -audio, x_mask=mask))


@pytest.mark.parametrize(("generation", "granularity"), VARIANTS)
@pytest.mark.parametrize("padding", [torch.nan, torch.inf, 1e4])
def test_padding_and_batch_mates_change_nothing(generation: str, granularity: str, padding: float) -> None:
    video, audio, mask = streams()
    fusion = build(generation, granularity)
    spoilt = [stream.masked_fill(~mask[..., None], padding) for stream in (video, audio)]
    out = fusion(*spoilt, x_mask=mask, context_mask=mask)
    for row, length in enumerate(LENGTHS):
        alone = fusion(video[row : row + 1, :length], audio[row : row + 1, :length])
        torch.testing.assert_close(out[row, :length], alone[0])


def test_mean_pool_takes_padding_in() -> None:
    video, audio, mask = streams()
    masked, mean = build(), build(pool="mean")
    seen = watch(mean), watch(masked)
    mean(video, audio, x_mask=mask, context_mask=mask)
    masked(video, audio, x_mask=mask, context_mask=mask)
    name = "fusion_layers.0.gating_function.attention_tap"
    torch.testing.assert_close(seen[0][name][0], seen[1][name][0])  # the full-length sample has no padding
    assert (seen[0][name][1:] - seen[1][name][1:]).abs().min() > 1e-4
    everywhere = torch.ones_like(mask)
    torch.testing.assert_close(
        mean(video, audio, x_mask=everywhere), masked(video, audio, x_mask=everywhere, context_mask=everywhere)
    )


@pytest.mark.parametrize(("generation", "granularity"), VARIANTS)
@pytest.mark.parametrize("pool", ["masked_mean", "mean"])
def test_sample_without_audio_has_neutral_gates(generation: str, granularity: str, pool: str) -> None:
    video, audio, mask = streams()
    fusion = build(generation, granularity, no_audio="learned", pool=pool)
    torch.nn.init.constant_(fusion.no_audio.state, 0.5)
    heard = mask.clone()
    heard[1] = False
    seen = watch(fusion)
    out = fusion(video, audio, x_mask=mask, context_mask=heard)
    assert all(value[1].abs().max() == 0 for value in seen.values())
    assert all(value[0].abs().min() > 0 for value in seen.values())
    for content in (torch.nan, torch.inf, 7.0):
        other = audio.clone()
        other[1] = content
        assert torch.equal(fusion(video, other, x_mask=mask, context_mask=heard)[mask], out[mask])
    full = fusion(video, audio, x_mask=mask, context_mask=mask)
    torch.testing.assert_close(full[0], out[0])
    assert not torch.allclose(full[1], out[1])


def test_the_no_audio_state_is_learned_from_samples_without_audio() -> None:
    video, audio, mask = streams()
    fusion = build(no_audio="learned")
    assert fusion.no_audio.state.tolist() == [0.0] * D
    heard = mask.clone()
    heard[1] = False
    fusion(video, audio, x_mask=mask, context_mask=heard)[1, 0].square().sum().backward()
    assert fusion.no_audio.state.grad.abs().min() > 0
    assert all(torch.isfinite(parameter.grad).all() for parameter in fusion.parameters() if parameter.grad is not None)


def test_samples_without_audio_are_refused_by_row() -> None:
    video, audio, mask = streams()
    heard = mask.clone()
    heard[1:] = False
    with pytest.raises(DataError, match=r"rows 1, 2: .*no_audio='learned'"):
        build()(video, audio, x_mask=mask, context_mask=heard)


def test_sample_of_padding_alone_is_finite_and_lacks_no_audio() -> None:
    video, audio, mask = streams()
    mask[2] = False
    fusion = build()
    out = fusion(video, audio, x_mask=mask, context_mask=mask)
    out.square().sum().backward()
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in fusion.parameters())


@pytest.mark.parametrize(("generation", "granularity"), VARIANTS)
def test_taps(generation: str, granularity: str) -> None:
    video, audio, mask = streams()
    fusion = build(generation, granularity)
    kinds = ["attention", "ffn"] + ["shift"] * generation.endswith("film")
    taps = [tap for _, tap in gate_taps(fusion)]
    assert [(tap.kind, tap.layer, tap.neutral) for tap in taps] == [(kind, n, 0.0) for n in (0, 1) for kind in kinds]
    expected = (-1.0, 1.0) if generation == "tanh" else (0.0, None)
    assert [(tap.low, tap.high) for tap in taps if tap.kind == "attention"] == [expected] * 2
    with record_gates(fusion, "**.attention_tap") as recording:
        fusion(video, audio, x_mask=mask, context_mask=mask)
    counts = {"global": len(LENGTHS), "clipwise": sum(LENGTHS), "elementwise": sum(LENGTHS) * D}
    assert {tap.count for tap in recording.summary().values()} == {counts[granularity]}


def test_all_parameters_are_the_fusions_and_get_gradients() -> None:
    video, audio, mask = streams()
    fusion = build("sigmoid_film", "elementwise")
    assert {id(p) for p in gate_parameters(fusion)} == {id(p) for p in fusion.parameters()}
    fusion(video, audio, x_mask=mask).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in fusion.parameters())


def test_dropout_acts_in_training_only() -> None:
    video, audio, _ = streams()
    fusion = build(dropout=0.5)
    assert torch.equal(fusion(video, audio), fusion(video, audio))
    fusion.train()
    assert not torch.equal(fusion(video, audio), fusion(video, audio))


def test_bfloat16_and_one_clip() -> None:
    video, audio, _ = streams()
    fusion = build("sigmoid_film", "clipwise")
    exact = fusion(video[:, :1], audio[:, :1])
    rounded = fusion.to(torch.bfloat16)(video[:, :1].bfloat16(), audio[:, :1].bfloat16())
    assert rounded.dtype == torch.bfloat16
    assert F.cosine_similarity(rounded.float(), exact, dim=-1).min() > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gating_type": "clipwize"}, "did you mean 'clipwise'"),
        ({"generation": "sigmod"}, "did you mean 'sigmoid'"),
        ({"pool": "maen"}, "did you mean 'mean'"),
        ({"no_audio": "learnt"}, "did you mean 'learned'"),
        ({"generation": "tanh_film"}, "tanh generation has no FiLM"),
        ({"fusion_n_heads": 3}, "fusion_n_heads=3 does not divide dim=8"),
        ({"fusion_layers": 0}, "fusion_layers is 0"),
        ({"mha_gate_temp": 0.0}, "mha_gate_temp is 0.0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_wrong_shapes_are_named() -> None:
    video, audio, _ = streams()
    with pytest.raises(DataError, match=r"\(3, 6, 8\) and audio of shape \(3, 5, 8\)"):
        build()(video, audio[:, :5])
    with pytest.raises(DataError, match="audio is 7 wide"):
        build()(video, audio[..., :7])


def test_built_from_the_registry() -> None:
    fusion = FUSIONS.build({"type": "AvigateCustomFusion", "dim": D})
    assert isinstance(fusion, AvigateCustomFusion) and fusion.placement == "projected"
    assert all(isinstance(tap, GateTap) for _, tap in gate_taps(fusion))
    assert np.isfinite(sum(parameter.sum().item() for parameter in fusion.parameters()))
