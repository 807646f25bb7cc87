"""Bad input: padding, videos without audio or frames, silence, batches and checkpoints that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_avigate import WIDTH, tiny_avigate, tiny_batch
from torch.nn import functional as F

from gatefuse_plugins.checkpoints.loading import load_into
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.errors import CheckpointError, DataError
from gatefuse_plugins.gates import gate_taps
from gatefuse_plugins.recording.recorder import record_gates

EVERYTHING = {"query_gate": "headwise", "text_gates": True, "layer_decay": "learnable", "text_alignment": "attention"}
VARIANTS = [{}, {"gating": False}, {"query_gate": "scalar"}, {**EVERYTHING, "gate_pooling": "attention"}]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_padding_never_leaks(options: dict) -> None:
    model = tiny_avigate(**options)
    batch = tiny_batch(tokens=3)
    expected = model(**batch)
    spoilt = dict(batch)
    for name in ("video", "audio", "text"):
        spoilt[name] = batch[name].masked_fill(~batch[f"{name}_mask"][..., None], torch.nan)
    torch.testing.assert_close(model(**spoilt), expected)
    model(mode="loss", **spoilt)["loss_contrastive"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    # and a batch padded further gives the same
    longer = {name: F.pad(value, (0, 0, 0, 1), value=9.0) for name, value in spoilt.items() if value.dim() == 3}
    longer |= {name: F.pad(value, (0, 1)) for name, value in spoilt.items() if value.dim() == 2}
    torch.testing.assert_close(model(**longer), expected)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_video_without_audio_depends_on_no_audio_and_its_gates_are_neutral(options: dict) -> None:
    model = tiny_avigate(**options)
    batch = tiny_batch()
    expected = model(**batch)
    for name, tap in gate_taps(model):
        if "decay" not in name:
            tap.register_forward_hook(
                lambda tap, _, value: neutral.append((value.flatten(1)[8:12] == tap.neutral).all())
            )
    neutral: list[torch.Tensor] = []
    batch["audio"][2] = torch.randn(7, WIDTH) * 100
    torch.testing.assert_close(model(**batch), expected)
    if model.text_conditioned:  # pairs come video by video: 4 texts each, so video 2 is rows 8 to 11
        assert len(neutral) > 2 and all(neutral)
    alone = {name: value[2:3] for name, value in batch.items()}
    torch.testing.assert_close(model(**{**alone, "audio": None, "audio_mask": None}), expected[2:3, 2:3])
    torch.testing.assert_close(
        model(**{**alone, "audio": torch.zeros(1, 0, WIDTH), "audio_mask": None}), expected[2:3, 2:3]
    )
    other_width = {**alone, "audio": torch.zeros(1, 7, 3)}  # of features whose width no video of the batch tells
    torch.testing.assert_close(model(**other_width), expected[2:3, 2:3])


def test_statistics_of_gates_leave_out_videos_without_audio() -> None:
    model, batch = tiny_avigate(query_gate="headwise", layer_decay="fixed", decay_ffn=True), tiny_batch()
    with record_gates(model) as gates:
        model(**batch)
    for name, tap in gates.summary().items():
        assert tap.count == 12 * (2 if "query" in name else 1), name  # 4 texts, 3 videos with audio; 2 heads
        assert tap.maximum < 1 and tap.neutral not in (tap.minimum, tap.maximum)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("audio", ["silent", "absent everywhere"])
def test_silent_audio_and_one_frame_stay_finite(options: dict, audio: str) -> None:
    model = tiny_avigate(**options)
    batch = tiny_batch(frames=1)
    batch["audio"] = torch.zeros_like(batch["audio"])
    if audio == "absent everywhere":
        batch["audio_mask"][:] = False
    loss = model(mode="loss", **batch)["loss_contrastive"]
    loss.backward()
    assert loss.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_bad_batches_are_named() -> None:
    model, batch = tiny_avigate(), tiny_batch()
    empty = {**batch, "video_mask": batch["video_mask"].clone()}
    empty["video_mask"][[0, 3]] = False
    with pytest.raises(DataError, match="video 0, 3 of the batch: no valid frame"):
        model(**empty)
    with pytest.raises(DataError, match="text 1 of the batch: no valid token"):
        model(**{**batch, "text_mask": torch.tensor([[True], [False], [True], [True]])})
    with pytest.raises(DataError, match="the batch lacks video"):
        model(mode="loss", text=batch["text"], audio=batch["audio"])
    with pytest.raises(DataError, match=r"audio features have shape \(4, 7, 6\), expected \(B, length, 8\)"):
        model(**{**batch, "audio": batch["audio"][..., :6]})
    with pytest.raises(DataError, match="audio_mask is torch.float32"):
        model(**{**batch, "audio_mask": batch["audio_mask"].float()})
    with pytest.raises(DataError, match="video_mask is torch.float32"):
        model(**{**batch, "video_mask": batch["video_mask"].float()})
    with pytest.raises(DataError, match=r"video_mask is torch.bool of shape \(4, 4\), expected bool \(4, 5\)"):
        model(**{**batch, "video_mask": batch["video_mask"][:, :4]})
    with pytest.raises(DataError, match="audio of 3 videos for frames of 4"):
        model(**{**batch, "audio": batch["audio"][:3], "audio_mask": batch["audio_mask"][:3]})
    with pytest.raises(DataError, match="7 frames, but there are 6 positions"):
        model(**tiny_batch(frames=7))
    with pytest.raises(DataError, match="3 texts and 4 videos"):
        model(mode="loss", **{**batch, "text": batch["text"][:3], "text_mask": None})
    with pytest.raises(ValueError, match="AVIGATE mode 'losses' is unknown; did you mean 'loss'"):
        model(mode="losses", **batch)
    with pytest.raises(TypeError, match="video_msk"):
        model(**{key.replace("video_mask", "video_msk"): value for key, value in batch.items()})


@pytest.mark.parametrize(("saved", "built"), [("scalar", "off"), ("off", "scalar")])
def test_a_checkpoint_of_the_other_variant_is_refused(tmp_path: Path, saved: str, built: str) -> None:
    path = tmp_path / "pytorch_model.bin.0"
    torch.save(tiny_avigate(query_gate=saved).state_dict(), path)
    model = tiny_avigate(seed=3, query_gate=built)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"query_gate\.qg_fc\.weight"):
        load_into(model, read_checkpoint(path))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    if built == "scalar":  # asked for, it loads: the query gates keep their start
        report = load_into(model, read_checkpoint(path), allow_missing=["**.query_gate.**"])
        assert len(report.missing) == 4
    else:
        assert len(load_into(model, read_checkpoint(path), drop=["**.query_gate.**"]).dropped) == 4
