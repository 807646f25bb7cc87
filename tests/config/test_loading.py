"""Overrides reach what depends on them; what would change nothing is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatefuse_plugins.config import load_config, validate_config
from gatefuse_plugins.config.overrides import parse_overrides
from gatefuse_plugins.errors import ConfigError


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, list(overrides))
    return str(caught.value)


def test_references_are_resolved_and_types_kept(config_file: Path) -> None:
    cfg = load_config(config_file)
    assert cfg.model.vision == {"type": "ToyVision", "width": 32}
    assert cfg.model.fusion.dim_in == 32
    assert cfg.train_dataloader.dataset.root == "data/cirr"
    assert cfg.work_dir == "work_dirs/tiny_0"
    assert cfg.optim_wrapper.optimizer.betas == (0.9, 0.98)
    assert cfg.filename == str(config_file)
    validate_config(cfg)


def test_an_override_reaches_everything_that_depends_on_it(config_file: Path) -> None:
    cfg = load_config(config_file, ["backbone=large", "data_root=/x", "seed=3"])
    assert cfg.model.vision == {"type": "ToyVision", "width": 1408, "depth": 40}
    assert cfg.model.fusion.dim_in == 1408
    assert cfg.train_dataloader.dataset.root == "/x"
    assert cfg.work_dir == "work_dirs/large_3"


def test_nested_dict_and_dotted_overrides_agree(config_file: Path) -> None:
    nested = load_config(config_file, {"model": {"fusion": {"alpha_init": 0.1}}, "train_cfg.max_epochs": 5})
    dotted = load_config(config_file, ["model.fusion.alpha_init=0.1", "train_cfg.max_epochs=5"])
    assert nested.to_dict() == dotted.to_dict()
    assert dotted.model.fusion.alpha_init == 0.1
    assert dotted.train_cfg.max_epochs == 5


def test_values_are_read_as_mmengine_does() -> None:
    read = parse_overrides(["a=1e-4", "b.c=[1,x]", "d=None", "e=true", "f=k=v"])
    assert read == {"a": 1e-4, "b.c": [1, "x"], "d": None, "e": True, "f": "k=v"}
    with pytest.raises(ConfigError, match="'seed': expected KEY=VALUE"):
        parse_overrides(["seed"])
    with pytest.raises(ConfigError, match="matching brackets"):
        parse_overrides(["a=[1,2"])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data_rot=/x", "data_rot is unknown; did you mean 'data_root'"),
        ("backbones.tiny.widht=3", "backbones.tiny.widht is unknown; did you mean 'width'"),
        ("model.fusion.alpha_int=3", "model.fusion.alpha_int is unknown; did you mean 'alpha_init'"),
        ("train_cfg.max_epoch=3", "train_cfg.max_epoch is unknown; did you mean 'max_epochs'"),
        ("param_scheduler.0.pct_strat=3", "param_scheduler.0.pct_strat is unknown; did you mean 'pct_start'"),
        ("param_scheduler.2.eta_max=3", "param_scheduler is a list of 1; expected an index below 1, not '2'"),
        ("work_dir.x=3", "work_dir is 'work_dirs/${backbone}_${seed}', which has no key 'x'"),
        ("model.vision.depth=3", "'${backbones.${backbone}.vision}', which has no key 'depth'; override what it"),
        ("backbone=small", "'backbones.small.width' not found); valid: large, tiny"),
    ],
)
def test_an_override_of_nothing_is_refused(config_file: Path, override: str, expected: str) -> None:
    assert expected in refused(config_file, override)


def test_parameters_that_the_config_does_not_state_may_be_added(config_file: Path) -> None:
    added = ["model.fusion.alpha_init=0.1", "train_cfg.val_interval=2", "optim_wrapper.clip_grad.max_norm=1"]
    cfg = load_config(config_file, [*added, "resume=True", "train_dataloader.num_workers=2", "max_steps=5"])
    assert cfg.optim_wrapper.clip_grad == {"max_norm": 1}
    assert (cfg.train_cfg.val_interval, cfg.resume, cfg.max_steps) == (2, True, 5)
    validate_config(cfg)


def test_all_refused_overrides_and_references_are_listed_at_once(config_file: Path) -> None:
    message = refused(config_file, "data_rot=1", "model.fusion.alpha_int=1", "backbone=gone")
    assert "4 faults" in message
    for path in ("data_rot", "model.fusion.alpha_int", "model.vision: ", "model.fusion.dim_in: "):
        assert path in message


def test_a_reference_to_itself_is_an_error(config_file: Path) -> None:
    assert "data_root: '${work_dir}'" in refused(config_file, "work_dir=${data_root}", "data_root=${work_dir}")


def test_a_missing_or_broken_file_is_named(config_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"laef\.py: no such config file; did you mean .*leaf\.py"):
        load_config(tmp_path / "laef.py")
    broken = tmp_path / "broken.py"
    broken.write_text("a = undefined_name\n")
    with pytest.raises(ConfigError, match=r"broken\.py: cannot be run as a config: NameError"):
        load_config(broken)
