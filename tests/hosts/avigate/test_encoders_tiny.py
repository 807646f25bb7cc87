"""From-scratch encoders: shapes, masks, vocabulary, and one step through the host."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gatefuse_plugins.data.clips import ClipSetConfig, caption_words, make_msrvtt_clips
from gatefuse_plugins.data.msrvtt import MSRVTTDataset
from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.hosts.avigate import build_avigate
from gatefuse_plugins.hosts.avigate.encoders import TinyAudioEncoder, TinyFrameEncoder, TinyTextEncoder
from gatefuse_plugins.hosts.avigate.encoders.rules import audio_encoder_sizes, frame_encoder_sizes
from gatefuse_plugins.hosts.avigate.encoders.words import UNKNOWN, WordTokenizer, write_vocabulary
from gatefuse_plugins.registry import MODELS

SMALL = {"output_dim": 6, "hidden_dim": 8, "depth": 1, "num_heads": 2}


def text_encoder(**options) -> TinyTextEncoder:
    torch.manual_seed(0)
    return TinyTextEncoder(**SMALL, **options).eval()


def test_shapes_and_registration() -> None:
    for cls in (TinyFrameEncoder, TinyTextEncoder, TinyAudioEncoder):
        encoder = MODELS.build({"type": cls.__name__, **SMALL})
        assert isinstance(encoder, cls) and encoder.output_dim == 6
    assert TinyFrameEncoder(**SMALL, image_size=16)(torch.randn(5, 3, 16, 16)).shape == (5, 6)
    audio = TinyAudioEncoder(**SMALL, num_mel_bins=4, max_length=12, patch_frames=3)
    assert audio(torch.randn(2, 12, 4)).shape == (2, 4, 6)
    mask = torch.arange(12) < torch.tensor([[0], [4], [12]])
    assert audio.token_mask(mask).tolist() == [[False] * 4, [True, True, False, False], [True] * 4]
    assert text_encoder()(["a red circle", "a buzz"]).shape == (2, 1, 6)
    tokens = text_encoder(tokens=True)
    captions = ["a red circle", "a buzz"]
    assert tokens(captions).shape == (2, 4, 6)
    assert tokens.token_mask(captions).tolist() == [[True] * 4, [True, True, True, False]]
    assert text_encoder().token_mask(captions).tolist() == [[True], [True]]


def test_a_caption_does_not_depend_on_its_neighbours() -> None:
    encoder = text_encoder()
    alone, together = encoder(["a red circle"]), encoder(["a red circle", "we hear a steady low buzz and see"])
    torch.testing.assert_close(together[:1], alone)
    assert not torch.allclose(encoder(["a blue circle"]), alone)


def test_wrong_sizes_are_told() -> None:
    with pytest.raises(ConfigError, match=r"hidden_dim=9 is no multiple of num_heads=2; nearest: 8"):
        TinyAudioEncoder(hidden_dim=9, num_heads=2)
    with pytest.raises(ConfigError, match=r"max_length=11 .*patch_frames=5; nearest: 10"):
        TinyAudioEncoder(max_length=11)
    with pytest.raises(ValueError, match=r"\(1, 9, 4\), expected \(B, 100, 32\)"):
        TinyAudioEncoder()(torch.zeros(1, 9, 4))


def test_unknown_words_and_long_captions_are_counted(capsys) -> None:
    tokenizer = WordTokenizer(context_length=5)
    ids, mask = tokenizer(["a zebra", "", "a red circle moving up and down", "собака лает"])
    assert ids[0].tolist()[1:3] == [tokenizer.ids["a"], UNKNOWN] and mask.sum(1).tolist() == [3, 1, 5, 3]
    assert (tokenizer.unknown_words, tokenizer.cut_captions) == (3, 1)
    tokenizer(["a zebra", "собака лает", "a b c d e f g"])
    assert (tokenizer.unknown_words, tokenizer.cut_captions) == (9, 2)
    printed = capsys.readouterr().out
    assert printed.count("becomes [UNK]") == 1 and printed.count("cut to 4") == 1
    with pytest.raises(ConfigError, match="context_length=1"):
        WordTokenizer(context_length=1)


def test_vocabulary_files(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    assert write_vocabulary(path, ["Собака лает!", "собака"], min_count=1) == 3
    assert path.read_text(encoding="utf-8").split() == ["собака", "!", "лает"]
    tokenizer = WordTokenizer(str(path))
    assert tokenizer(["СОБАКА лает!"])[0].tolist() == [[2, 3, 5, 4]] and tokenizer.unknown_words == 0
    assert write_vocabulary(path, ["a a b"], min_count=2) == 1
    path.write_text("a\nb\na\n")
    with pytest.raises(DataError, match="repeated or reserved lines"):
        WordTokenizer(str(path))
    with pytest.raises(DataError, match="expected 'clips' or a file"):
        WordTokenizer(str(tmp_path / "absent.txt"))
    assert len(WordTokenizer("clips")) == len(caption_words()) + 3


def test_sizes_must_agree_with_the_data() -> None:
    dataset = {"type": "gatefuse.MSRVTTDataset", "frame_size": 16, "num_mel_bins": 8, "audio_length": 100}
    root = {"train_dataloader": {"dataset": dataset}}
    frames, audio = {"type": "TinyFrameEncoder"}, {"type": "TinyAudioEncoder", "num_mel_bins": 8}
    assert audio_encoder_sizes(audio, "model.audio_encoder", root) == []
    assert frame_encoder_sizes(frames, "model.frame_encoder", root) == [
        "train_dataloader.dataset.frame_size: 16, but model.frame_encoder.image_size is 32; they must be equal"
    ]
    assert frame_encoder_sizes(frames | {"image_size": 16}, "m", root) == []
    assert frame_encoder_sizes(frames, "m", {"train_dataloader": {"dataset": dataset | {"video_features": "x"}}}) == []
    wrong = audio | {"max_length": 52, "hidden_dim": 9}
    assert [fault.split(":")[0] for fault in audio_encoder_sizes(wrong, "m", root)] == [
        "m.hidden_dim",
        "m.max_length",
        "train_dataloader.dataset.audio_length",
    ]


def test_the_host_trains_and_predicts_on_the_embedded_clips(tmp_path: Path) -> None:
    config = ClipSetConfig(num_train_videos=13, num_test_videos=2, num_frames=2, image_size=16)
    make_msrvtt_clips(tmp_path / "set", config)
    sizes = {"num_frames": 2, "frame_size": 16, "sample_rate": 8000, "num_mel_bins": 8, "audio_length": 100}
    batch = MSRVTTDataset(tmp_path / "set", "train", **sizes)[list(range(0, 65, 5))]
    torch.manual_seed(0)
    model = build_avigate(
        width=6,
        num_heads=2,
        num_query_tokens=3,
        resampler_layers=1,
        fusion_layers=1,
        frame_encoder={"type": "TinyFrameEncoder", "image_size": 16, **SMALL},
        text_encoder={"type": "TinyTextEncoder", "tokens": True, **SMALL},
        audio_encoder={"type": "TinyAudioEncoder", "num_mel_bins": 8, **SMALL},
    )
    losses = model(mode="loss", **batch)
    sum(losses.values()).backward()
    for encoder in (model.frame_encoder, model.text_encoder, model.audio_encoder):
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())
        assert any((p.grad != 0).any() for p in encoder.parameters())
    (found,) = model.eval()(mode="predict", **MSRVTTDataset(tmp_path / "set", "test", "eval", **sizes)[[0, 1, 3]])
    assert found["video_index"].tolist() == [0, 1] and found["text_index"].tolist() == [1]
    assert found["has_audio"].tolist() == [True, True] and torch.isfinite(found["frames"]).all()
    (mute,) = model(mode="predict", **MSRVTTDataset(tmp_path / "set", "train", "eval", **sizes)[[12]])
    assert mute["has_audio"].tolist() == [False]
