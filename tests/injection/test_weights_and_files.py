"""Rules from files, weights of the inserts alone, and the command line."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from injection_hosts import RULES, Encoder, inputs, stir

from gatefuse_plugins.config import load_config
from gatefuse_plugins.config.validation import config_faults
from gatefuse_plugins.errors import CheckpointError, ConfigError, DataError
from gatefuse_plugins.injection import inject, injected_state, load_gates, load_injection, save_gates

ROOT = Path(__file__).resolve().parents[2]


def test_gates_are_saved_and_loaded_alone(tmp_path: Path) -> None:
    first, second = Encoder(), Encoder()
    for host in (first, second):
        inject(host, RULES)
    stir(first)
    names = save_gates(first, tmp_path / "gates.safetensors")
    assert names == list(injected_state(first))
    assert not torch.equal(first(**inputs()), second(**inputs()))
    assert load_gates(second, tmp_path / "gates.safetensors") == names
    assert torch.equal(first(**inputs()), second(**inputs()))


def test_a_file_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    first, second = Encoder(), Encoder()
    inject(first, [RULES[0], RULES[1]])
    stir(first)
    inject(second, [RULES[0], RULES[4]])
    before = {name: value.clone() for name, value in injected_state(second).items()}
    save_gates(first, tmp_path / "gates.safetensors")
    with pytest.raises(CheckpointError, match=r"(?s)missing in the file: .*parts/head/0.*not in the model: .*linear2"):
        load_gates(second, tmp_path / "gates.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in injected_state(second).items())
    with pytest.raises(ConfigError, match="expected NAME.safetensors"):
        save_gates(first, tmp_path / "gates.pth")
    with pytest.raises(ConfigError, match="holds no injection"):
        save_gates(Encoder(), tmp_path / "none.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gates.safetensors"]


def test_yaml_json_and_python_give_the_same_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text(json.dumps({"injection": RULES}))
    (tmp_path / "rules.yaml").write_text(json.dumps({"injection": RULES}))  # JSON is YAML
    (tmp_path / "rules.py").write_text(f"injection = {RULES!r}")
    for suffix in ("json", "yaml", "py"):
        assert load_injection(tmp_path / f"rules.{suffix}") == RULES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("injection: !!python/object/apply:os.system ['touch {tmp}/ran']", "tags that build objects are refused"),
        ("injection: [!!python/name:os.system '']", "tags that build objects are refused"),
        ("injection: []\ninjection: []", "key 'injection' stands twice"),
        ("injection: [a", "not valid YAML"),
        ("rules: []", "no list of rules under 'injection'; found rules"),
        ("", "no list of rules"),
    ],
)
def test_unsafe_and_broken_yaml_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text.replace("{tmp}", str(tmp_path)))
    with pytest.raises(ConfigError, match=message):
        load_injection(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ['{"injection": [], "injection": []}', '{"injection": [{"into": "a", "into": "b"}]}'])
def test_a_key_that_stands_twice_in_json_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"rules\.json: key 'in(jection|to)' stands twice"):
        load_injection(path)


def test_files_that_are_no_config(tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text('{"injection": [')
    with pytest.raises(DataError, match="not valid JSON"):
        load_injection(tmp_path / "rules.json")
    with pytest.raises(ConfigError, match=r"no such file; did you mean .*rules.json"):
        load_injection(tmp_path / "rule.json")
    with pytest.raises(ConfigError, match="expected one of .yaml"):
        load_injection(tmp_path / "rules.txt")


def test_the_leaf_is_validated_down_to_the_host_and_the_rules() -> None:
    import gatefuse_plugins.plugins  # noqa: F401

    config = load_config(ROOT / "configs" / "cirr_qformer_gates.py").to_dict()
    assert config_faults(config) == []
    config["model"]["num_query_tokn"] = 3
    config["model"]["injection"][0]["patern"] = "x"
    config["model"]["injection"][1]["gate"]["granularty"] = "global"
    faults = "\n".join(config_faults(config))
    assert "model.num_query_tokn: " in faults and "did you mean 'num_query_token'" in faults
    assert "model.injection.0.patern is unknown; did you mean 'pattern'" in faults
    assert "model.injection.1.gate.granularty" in faults
    config["model"]["host"] = "Blip2ComposedRetrievl"
    assert "did you mean" in "\n".join(config_faults(config))


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("inject_tool", ROOT / "tools" / "inject.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tool_shows_the_plan(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "rules.yaml"
    config.write_text(json.dumps({"injection": RULES}))
    command = ["--model-factory", "injection_hosts:Encoder", "--config", str(config)]
    assert tool.main([*command, "--plan"]) == 0
    assert capsys.readouterr().out.startswith("Encoder: 8 inserts\n  layers.0.self_attn")
    assert tool.main([*command, "--plan", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["inserts"]) == 8
    assert tool.main(command) == 0
    assert "injected and taken out again" in capsys.readouterr().err
    for factory, message in (
        ("injection_hosts", "expected MODULE:FUNCTION"),
        ("injection_host:Encoder", "cannot be imported: ModuleNotFoundError"),
        ("injection_hosts:Encodr", "did you mean 'Encoder'"),
        ("injection_hosts:inputs", "returned a dict; expected an nn.Module"),
        ("injection_hosts:stir", "injection_hosts:stir: failed: TypeError: stir() missing"),
    ):
        assert tool.main(["--model-factory", factory, "--config", str(config)]) == 2
        assert "error: --model-factory" in (error := capsys.readouterr().err) and message in error
    assert tool.main([*command, "--imports", "nope"]) == 2
    assert "error: --imports nope: cannot be imported: ModuleNotFoundError" in capsys.readouterr().err
    assert tool.main([*command[:-1], str(tmp_path / "rule.yaml")]) == 2
    assert f"error: --config {tmp_path}/rule.yaml: no such file; did you mean" in capsys.readouterr().err
