"""The Q-Former of LAVIS and that of transformers: the same names, the same numbers, the same start from BERT.

No environment holds both, so each is compared with SPRC's state dict and outputs (see also test_sprc_parity.py).
"""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from oracles import load_oracle
from qformer_backends import EACH_BACKEND, NEEDS_TRANSFORMERS
from test_sprc_parity import sprc_state, upstream_network
from tiny_hosts import FUSION, HIDDEN, WIDTH, tiny_batch, tiny_config, tiny_host
from torch import nn
from torch.nn import functional as F

from gatefuse_plugins.checkpoints.loading import load_into
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.errors import CheckpointError, ConfigError
from gatefuse_plugins.hosts.blip2_cir import qformer as builder
from gatefuse_plugins.hosts.blip2_cir.qformer import build_qformer, choose_backend

needs_transformers = [getattr(pytest.mark, mark.name)(*mark.args, **mark.kwargs) for mark in NEEDS_TRANSFORMERS]


def small_bert() -> nn.Module:
    """Weights unlike their start, norm scales too."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
    bert = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=20, max_position_embeddings=16, **sizes))
    with torch.no_grad():
        for parameter in bert.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return bert


def host_of(backend: str, **options: Any) -> nn.Module:
    config = tiny_config()["qformer"] | {"backend": backend} | options.pop("qformer", {})
    return tiny_host(qformer=config, fusion=FUSION, **options)


@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_names_are_sprcs_in_memory_and_in_files(backend: str, tmp_path: Path) -> None:
    manifest, _ = load_oracle("sprc_blip2_cir")
    network = upstream_network(manifest["config"], backend)
    theirs = {name: tuple(shape) for name, shape in manifest["state_dict"].items() if name.startswith("Qformer.")}
    ours = {name: tuple(value.shape) for name, value in network.state_dict().items() if name.startswith("Qformer.")}
    assert ours == theirs
    # in SPRC's order, since optimizer states go by it; tied tensors have one name there
    tied = ("position_ids", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
    ordered = [name for name, _ in network.named_parameters() if name.startswith("Qformer.")]
    assert ordered == [name for name in theirs if not name.endswith(tied)]

    source = sprc_state(manifest["state_dict"])
    torch.save({"epoch": 7, "Blip2QformerCirAlignPrompt": source}, tmp_path / "tuned_clip_best.pt")
    load_into(network, read_checkpoint(tmp_path / "tuned_clip_best.pt"))
    torch.save({"Blip2QformerCirAlignPrompt": network.state_dict()}, tmp_path / "saved.pt")
    saved = read_checkpoint(tmp_path / "saved.pt").state_dict
    assert set(saved) == set(source)
    # upstream ties the head to the embeddings; the manifest's rule fills the two biases as if they were apart
    apart = {"Qformer.cls.predictions.decoder.bias"}
    assert [name for name in set(source) - apart if not torch.equal(saved[name], source[name])] == []


@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_bert_is_the_start(backend: str, tmp_path: Path) -> None:
    bert = small_bert()
    bert.save_pretrained(tmp_path)
    qformer = build_qformer(encoder_width=6, vocab_size=21, bert=str(tmp_path), backend=backend)
    assert (qformer.config.hidden_size, qformer.config.num_hidden_layers) == (8, 2)
    theirs, ours = bert.state_dict(), qformer.state_dict()
    grown = ("word_embeddings.weight", "cls.predictions.bias", "decoder.weight", "decoder.bias")
    for name, value in theirs.items():
        if name in ours:
            found = ours[name][:20] if name.endswith(grown) else ours[name]
            assert torch.equal(found, value), name
    left_out = {"bert.embeddings.token_type_embeddings.weight"}
    assert {name for name in theirs if name not in ours and "position_ids" not in name} == left_out
    assert ours["bert.embeddings.word_embeddings.weight"].shape == (21, 8)
    for part in ("intermediate", "output"):
        text, query = (ours[f"bert.encoder.layer.1.{part}{twin}.dense.weight"] for twin in ("", "_query"))
        assert torch.equal(text, query)
    assert ours["bert.encoder.layer.0.crossattention.self.key.weight"].shape == (8, 6)
    assert not any(name.startswith("bert.encoder.layer.1.crossattention") for name in ours)


@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_dropout_acts_in_training_only(backend: str) -> None:
    host, batch = host_of(backend, qformer={"dropout": 0.5}), tiny_batch()
    values = [host.train()(mode="loss", **batch)["loss_itc"].item() for _ in range(2)]
    assert values[0] != values[1]
    values = [host.eval()(mode="loss", **batch)["loss_itc"].item() for _ in range(2)]
    assert values[0] == values[1]


@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_copies_pickles_and_low_precision(backend: str) -> None:
    host, batch = host_of(backend).eval(), tiny_batch()
    losses = host(mode="loss", **batch)
    for twin in (copy.deepcopy(host), pickle.loads(pickle.dumps(host))):
        again = twin(mode="loss", **batch)
        assert all(torch.equal(again[name], value) for name, value in losses.items())
    with torch.autocast("cpu", torch.bfloat16):
        rough = host(mode="loss", **batch)
    for name, value in losses.items():
        torch.testing.assert_close(rough[name].float(), value, rtol=0.1, atol=0.05)


class TestTransformers:
    pytestmark = needs_transformers

    def test_attention_is_scaled_dot_product_attention(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[tuple[int, int, bool]] = []
        attend = F.scaled_dot_product_attention

        def counted(query: torch.Tensor, key: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
            masked = options.get("attn_mask") is not None
            calls.append((query.shape[2], key.shape[2], masked))
            return attend(query, key, *rest, **options)

        host, batch = host_of("transformers"), tiny_batch()
        tokens, text = torch.randn(4, 5, WIDTH), host.tokenize(batch["caption"])
        monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
        host.compose(tokens, text)
        queries = host.query_tokens.shape[1]
        both = queries + text.input_ids.shape[1]
        # layer 0 attends to the image, layer 1 does not; then two layers of the text path
        assert calls == [(both, both, True), (queries, 5, False)] + [(both, both, True)] * 3

    def test_masked_words_do_not_count(self) -> None:
        host, batch = host_of("transformers").eval(), tiny_batch()
        text = host.tokenize(batch["caption"])
        tokens = torch.randn(4, 5, WIDTH)
        query, _ = host.compose(tokens, text)
        others = text.input_ids.masked_fill(~text.mask, 7)
        assert not torch.equal(others, text.input_ids)
        torch.testing.assert_close(host.compose(tokens, type(text)(others, text.mask))[0], query)

    def test_bert_as_published(self, tmp_path: Path) -> None:
        # bert-base-uncased calls scales and shifts gamma and beta, and holds heads that are of no use here
        bert = small_bert()
        bert.config.save_pretrained(tmp_path)
        renamed = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
            for name, value in bert.state_dict().items()
        }
        torch.save({**renamed, "cls.seq_relationship.bias": torch.zeros(2)}, tmp_path / "pytorch_model.bin")
        qformer = build_qformer(encoder_width=6, vocab_size=21, bert=str(tmp_path), backend="transformers")
        name = "bert.encoder.layer.1.output.LayerNorm.weight"
        assert torch.equal(qformer.state_dict()[name], bert.state_dict()[name])

    def test_bert_without_all_weights_is_named(self, tmp_path: Path) -> None:
        bert = small_bert()
        bert.config.save_pretrained(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"the folder lacks pytorch_model\.bin"):
            build_qformer(encoder_width=6, vocab_size=21, bert=str(tmp_path), backend="transformers")
        state = bert.state_dict()
        del state["bert.encoder.layer.1.output.dense.weight"]
        torch.save(state, tmp_path / "pytorch_model.bin")
        with pytest.raises(CheckpointError, match=r"lacks 1 of BERT's weights: \['bert\.encoder\.layer\.1\.output\.de"):
            build_qformer(encoder_width=6, vocab_size=21, bert=str(tmp_path), backend="transformers")

    def test_a_head_starts_as_bert_starts_it(self) -> None:
        qformer = build_qformer(6, 30, bert=None, hidden_size=HIDDEN, num_attention_heads=2, initializer_range=0.2)
        words = qformer.bert.embeddings.word_embeddings.weight
        assert qformer.cls.predictions.decoder.weight is words
        assert abs(words.std().item() - 0.2) < 0.03
        assert all(not p.any() for name, p in qformer.named_parameters() if name.endswith("bias"))


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model\.qformer\.backend: 'transformer' is unknown; did you mean 'transf"):
        build_qformer(6, 30, bert=None, backend="transformer")


def test_auto_prefers_lavis(monkeypatch: pytest.MonkeyPatch) -> None:
    for installed, chosen in ((object(), "lavis"), (None, "transformers")):
        monkeypatch.setattr(builder, "find_spec", lambda name, found=installed: found)
        assert choose_backend("auto") == chosen
    assert choose_backend("lavis") == "lavis"


def test_an_old_transformers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatefuse_plugins.hosts.blip2_cir.qformer_transformers.OLDEST", "99.1")
    found = transformers.__version__.replace(".", r"\.")
    with pytest.raises(ImportError, match=rf"needs transformers 5\.13 or later, found {found}: pip install 'gatefuse-"):
        build_qformer(6, 30, bert=None, backend="transformers")


def test_lavis_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lavis.models.blip2_models.Qformer", None)
    with pytest.raises(ImportError, match=r"backend='lavis' needs LAVIS: pip install 'gatefuse-plugins\[lavis\]'"):
        build_qformer(6, 30, bert=None, backend="lavis")
