"""Misspelt keys of a config file's sections are faults, as they are in overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

import gatefuse_plugins.plugins  # noqa: F401  registers every rule
from gatefuse_plugins.config import load_config, validate_config
from gatefuse_plugins.config.validation import config_faults
from gatefuse_plugins.engine.data_kinds import data_kind
from gatefuse_plugins.engine.sections import CLIP_OPTIONS, TOKEN_OPTIONS
from gatefuse_plugins.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def faults_of(tmp_path: Path, base: str, text: str) -> list[str]:
    """Faults of a leaf over ``base`` that states ``text``."""
    leaf = tmp_path / "leaf.py"
    leaf.write_text(f"_base_ = {str(CONFIGS / base)!r}\n{text}\n")
    return config_faults(load_config(leaf).to_dict())


@pytest.mark.parametrize(
    ("base", "text", "expected"),
    [
        (
            "msrvtt_avigate.py",
            "features = dict(encoder=['audio_encoder'])",
            "features.encoder: unknown; did you mean 'encoders'?",
        ),
        ("msrvtt_avigate.py", "weights = dict(clpi='a')", "weights.clpi: unknown; did you mean 'clip'?"),
        (
            "msrvtt_avigate.py",
            "profiles = dict(embedded=dict(frame_siez=3))",
            "profiles.embedded.frame_siez: absent from profiles.real; every entry needs the same keys; did you mean"
            " 'frame_size'",
        ),
        (
            "qvhighlights_concat.py",
            "embedded = dict(num_trian_videos=3)",
            "embedded.num_trian_videos: unknown; did you mean 'num_train_videos'",
        ),
        ("qvhighlights_concat.py", "embedded = dict(min_clips=2.5)", "embedded.min_clips: 2.5; expected an int"),
        (
            "qvhighlights_concat.py",
            "embedded = dict(_delete_=True, num_train_videos=800)",
            "embedded.root: missing; expected the folder to write to",
        ),
        (
            "cirr_gated.py",
            "embedded = dict(_delete_=True, root='a', cluster_size=2)",
            "embedded: SceneSetConfig: cluster_size=2",
        ),
        (
            "cirr_gated.py",
            "prepare = dict(vision_training=dict(stpes=5))",
            "prepare.vision_training.stpes: unknown; did you mean 'steps'",
        ),
        ("cirr_gated.py", "prepare = dict(vision_trainig=dict())", "prepare.vision_trainig: unknown; did you mean "),
        ("cirr_gated.py", "features = dict(encoders=[])", "features.encoders: unknown; "),
        (
            "cirr_gated.py",
            "backbones = dict(tiny=dict(embed_dmi=3))",
            "backbones.tiny.embed_dmi: absent from backbones.pretrain, backbones.pretrain_vitL; every entry needs the"
            " same keys; did you mean 'embed_dim'",
        ),
        ("cirr_gated.py", "dataset = 'cir'", "dataset='cir' is unknown; did you mean 'cirr'?"),
    ],
)
def test_a_misspelt_key_is_one_fault(tmp_path: Path, base: str, text: str, expected: str) -> None:
    (fault,) = faults_of(tmp_path, base, text)
    assert fault.startswith(expected)


def test_sections_may_be_switched_off(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "cirr_gated.py", "embedded = None\nfeatures = None") == []
    for text in ("features = 3", "prepare = 3"):
        (fault,) = faults_of(tmp_path, "cirr_gated.py", f"{text}\nembedded = None")
        assert fault == f"{text.replace(' =', ':')}; expected a dict or None"


def test_an_entry_that_refers_to_another_is_judged_once(tmp_path: Path) -> None:
    text = "profiles = dict(auto='${profiles.embedded}', embedded=dict(extra=1))"
    assert len(faults_of(tmp_path, "tvsum_concat.py", text)) == 1


def test_the_shipped_sections_state_known_keys_only() -> None:
    for name, known in (("cirr_gated.py", TOKEN_OPTIONS), ("msrvtt_avigate.py", CLIP_OPTIONS)):
        cfg = load_config(CONFIGS / name)
        validate_config(cfg)
        assert set(cfg.features) == set(known)


def test_making_a_set_refuses_what_the_config_would(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"embedded\.num_trian_videos: unknown; did you mean 'num_train_videos'"):
        data_kind("tvsum").make(tmp_path / "set", {"num_trian_videos": 3})
    assert not (tmp_path / "set").exists()
