"""Faulty rules are typed errors that name what is near, and leave the host as it was."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from injection_hosts import RULES, D, Encoder, hook_counts, inputs
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, GatefuseError, PatternError
from gatefuse_plugins.injection import inject, plan_injection
from gatefuse_plugins.injection.names import NameIndex
from gatefuse_plugins.patterns import compile_pattern

GATE = {"type": "ResidualGate"}
TEXT_FUSION = {"type": "TextGuidedImageFusion", "image_dim": D, "text_dim": D}
TEXT = {"argument": "text"}


def test_the_plan_is_complete_and_changes_nothing() -> None:
    host = Encoder()
    hooks, keys = hook_counts(host), list(host.state_dict())
    plan = plan_injection(host, {"injection": RULES})
    assert str(plan).splitlines()[0] == "Encoder: 8 inserts"
    assert "  layers.0.self_attn (MultiheadAttention) output: gate ResidualGate(dim=8, layer=0)" in plan.lines()
    assert "context from module 'text'" in str(plan)
    assert [insert["rule"] for insert in plan.to_json()["inserts"]] == [0, 0, 0, 1, 1, 2, 3, 4]
    assert (hook_counts(host), list(host.state_dict())) == (hooks, keys)


FAULTS: list[tuple[dict[str, Any], type[GatefuseError], str]] = [
    (
        {"pattern": "layer.*", "gate": GATE},
        PatternError,
        r"injection.1: pattern 'layer.\*' matches nothing.*'layers.0'",
    ),
    ({"pattern": "layers.**x", "gate": GATE}, PatternError, "malformed at segment"),
    (
        {"pattern": "layers", "gate": GATE},
        ConfigError,
        "layers is a ModuleList, which never runs itself; name its members",
    ),
    ({"pattern": "layers.0.self_attn.out_proj", "gate": GATE}, ConfigError, "never runs: layers.0.self_attn"),
    ({"pattern": "text", "gate": {"type": "ResidualGat"}}, ConfigError, "did you mean 'ResidualGate'"),
    ({"pattern": "text", "gate": {"type": "TanhGate"}}, ConfigError, "does not take a branch"),
    ({"pattern": "text", "gate": GATE | {"hiden_dim": 2}}, ConfigError, "no parameter 'hiden_dim'; did you mean"),
    ({"pattern": "text", "gate": GATE, "fusion": TEXT_FUSION}, ConfigError, "gate and fusion; expected one"),
    ({"pattern": "text"}, ConfigError, "neither gate nor fusion"),
    ({"pattern": "text", "gate": GATE, "context": TEXT}, ConfigError, "a gate on a branch takes no context"),
    ({"patern": "text", "gate": GATE}, ConfigError, "injection.1.patern is unknown; did you mean 'pattern'"),
    ({"pattern": "text", "gate": GATE, "batch_first": 1}, ConfigError, "batch_first: 1 is a int; expected bool"),
    ({"pattern": "text", "fusion": TEXT_FUSION}, ConfigError, "injection.1.context: missing"),
    ({"pattern": "text", "fusion": TEXT_FUSION, "context": TEXT | {"module": "text"}}, ConfigError, "ambiguous"),
    ({"pattern": "text", "fusion": TEXT_FUSION, "context": {"module": "layers.*"}}, ConfigError, "is a pattern"),
    ({"pattern": "text", "fusion": TEXT_FUSION, "context": {"module": "txt"}}, ConfigError, "no module 'txt'.*'text'"),
    (
        {"pattern": "text", "fusion": TEXT_FUSION, "context": {"argument": "adio"}},
        ConfigError,
        "Encoder.forward has no argument 'adio'; did you mean 'audio'",
    ),
    ({"pattern": "layers.1.self_attn", "gate": GATE}, ConfigError, "second insert, after that of injection.0"),
    ({"pattern": "layers.1.self_attn", "gate": GATE, "select": 0}, ConfigError, "second insert"),
    ({"pattern": "text", "gate": GATE, "select": -1}, ConfigError, "injection.1.select: -1 counts from the end"),
    ({"pattern": "text", "gate": GATE, "dim": 0}, ConfigError, "injection.1.dim: 0 is no width; expected an integer"),
    ({"pattern": "text", "gate": GATE | {"dim": 0}}, ConfigError, "ResidualGate.dim: 0 is no width"),
    ({"pattern": "text", "gate": GATE, "dim": 12}, ConfigError, r"dim of the rule is 12, but .*\(Linear\) is 8 wide"),
    ({"pattern": "text", "gate": GATE | {"dim": 12}}, ConfigError, "dim of ResidualGate is 12, but .* is 8 wide"),
    (
        {"pattern": "layers.1", "gate": GATE | {"dim": 12}, "dim": 8},
        ConfigError,
        "dim of ResidualGate is 12, but dim of the rule is 8 wide",
    ),
    (
        {"pattern": "layers.1", "fusion": TEXT_FUSION, "context": {"module": "text"}, "context_dim": 6},
        ConfigError,
        "context_dim of the rule is 6, but context module 'text' .* is 8 wide",
    ),
    (
        {"pattern": "text", "fusion": TEXT_FUSION, "context": {"module": "layers"}},
        ConfigError,
        "injection.1.context: layers is a ModuleList, which never runs",
    ),
    (
        {"pattern": "text", "fusion": TEXT_FUSION, "context": {"module": "layers.0.self_attn.out_proj"}},
        ConfigError,
        "injection.1.context: layers.0.self_attn.out_proj never runs",
    ),
    ({"pattern": "layers.0", "at": "ffn_gate", "gate": GATE}, ConfigError, "has no such slot"),
    (
        {"pattern": "text", "fusion": {"type": "Concat", "video_dim": 8, "audio_dim": 8}, "context": TEXT},
        ConfigError,
        "must keep the shape",
    ),
    (
        {"pattern": "text", "fusion": {"type": "GatedCrossAttention", "num_heads": 3}, "context": TEXT},
        ConfigError,
        "num_heads=3 does not divide dim=8",
    ),
]


@pytest.mark.parametrize(("rule", "error", "message"), FAULTS)
def test_a_faulty_rule_leaves_the_host_untouched(rule: dict[str, Any], error: type[Exception], message: str) -> None:
    host = Encoder()
    hooks, keys = hook_counts(host), list(host.state_dict())
    with pytest.raises(error, match=message):
        inject(host, [RULES[0], rule])
    assert (hook_counts(host), list(host.state_dict())) == (hooks, keys)


def test_double_injection_and_wrapped_hosts_are_refused() -> None:
    host = Encoder()
    inject(host, RULES)
    with pytest.raises(ConfigError, match="Encoder was injected before; call eject first"):
        inject(host, RULES)
    with pytest.raises(ConfigError, match="layers.0.self_attn|injected before"):
        inject(nn.ModuleDict({"inner": host}), RULES)
    part = host.layers[1]
    with pytest.raises(ConfigError, match="self_attn has an insert already"):
        inject(part, [{"pattern": "self_attn", "gate": GATE}])
    with pytest.raises(ConfigError, match="OptimizedModule wraps the host"):
        plan_injection(torch.compile(Encoder(), backend="eager"), RULES)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="bare Sequential"):
        inject(nn.Sequential(nn.Linear(2, 2)), [{"pattern": "0", "gate": GATE}])


def test_nested_tensors_are_refused_before_they_fail() -> None:
    layer = nn.TransformerEncoderLayer(D, 2, 16, dropout=0.0, batch_first=True)
    rules = [{"pattern": "layers.*.self_attn", "gate": GATE}]
    with pytest.raises(ConfigError, match="build it with enable_nested_tensor=False"):
        inject(nn.TransformerEncoder(layer, 2), rules)
    host, batch = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(), inputs()
    with torch.no_grad():
        before = host(batch["x"], src_key_padding_mask=~batch["mask"])
        inject(host, rules)
        torch.testing.assert_close(host(batch["x"], src_key_padding_mask=~batch["mask"]), before)


def test_a_host_on_meta_is_planned_but_not_injected() -> None:
    with torch.device("meta"):
        host = Encoder()
    assert len(plan_injection(host, RULES).inserts) == 8
    with pytest.raises(ConfigError, match="Encoder lies on the meta device"):
        inject(host, RULES)
    assert hook_counts(host) == hook_counts(Encoder())


@pytest.mark.parametrize(
    ("rule", "change", "message"),
    [
        ({"context": TEXT, "dim": 4}, {}, r"layers.1: dim is 4, but the example is 8 wide"),
        ({"context": TEXT, "context_dim": 8}, {}, "context_dim is 8, but the example is 6 wide"),
        ({"context": {"argument": "audio"}}, {"audio": None}, "argument 'audio', which is missing in the example"),
        ({"context": TEXT}, {"text": torch.zeros(3, 3, 6)}, r"batches of 2 and 3; is one of them \(L, B, D\)"),
        ({"context": TEXT}, {"x": torch.zeros(2, 5, 9)}, "Encoder cannot run the example"),
        ({"context": TEXT, "fusion": TEXT_FUSION}, {}, "text_dim of .* is 8, but the example is 6 wide"),
        ({"context": TEXT}, {"x": {"wrong": 1}}, "Encoder cannot run the example: "),
    ],
)
def test_an_example_finds_what_names_cannot(rule: dict[str, Any], change: dict[str, Any], message: str) -> None:
    host = Encoder().train()
    fusion = {"type": "TextGuidedImageFusion"}
    with pytest.raises(ConfigError, match=message):
        plan_injection(host, [{"pattern": "layers.1", "fusion": fusion, **rule}], example=inputs() | change)
    assert hook_counts(host) == hook_counts(Encoder())
    assert all(module.training for module in host.modules())


def test_an_example_finds_targets_that_never_run_and_sources_that_run_twice() -> None:
    class Host(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.twice, self.last = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.twice(self.twice(x)))

    host, x = Host(), inputs()["x"]
    with pytest.raises(ConfigError, match="unused never runs in the example"):
        plan_injection(host, [{"pattern": "unused", "gate": GATE}], example=(x,))
    rule = {"pattern": "last", "fusion": TEXT_FUSION, "context": {"module": "twice"}}
    with pytest.raises(ConfigError, match="module 'twice' ran 2 times; say call='last'"):
        plan_injection(host, [rule], example=(x,))
    inject(host, [rule])  # without an example it shows when the host runs
    with pytest.raises(ConfigError, match="context is ambiguous: module 'twice' ran 2 times"):
        host(x)
    host = Host()
    before = host(x)
    inject(host, [rule | {"context": {"module": "twice", "call": "last"}}], example=(x,))
    assert torch.equal(host(x), before)


@pytest.mark.parametrize(
    "pattern",
    [
        *("**", "*", "layers.*", "layers.{0,2}", "layers.{0,9}.linear?", "{layers,parts}.**", "parts.head.0", "layer"),
        *("**.0", "l*.1.norm1", "layers.{1*,2}.self_attn", "layers.1.**.out_proj", "layers.{0,1}.{linear1,norm2}"),
    ],
)
def test_no_match_is_lost_by_looking_at_few_names(pattern: str) -> None:
    names = [name for name, _ in Encoder().named_modules() if name]
    expression = compile_pattern(pattern)
    candidates = NameIndex(names).candidates(pattern)
    assert [name for name in candidates if expression.fullmatch(name)] == [n for n in names if expression.fullmatch(n)]
    assert len(candidates) == len(names) or pattern[0] != "*"


def test_ten_thousand_rules_are_planned_in_seconds() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(
                nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)}) for _ in range(5000)
            )

    patterns = ("blocks.{index}.{part}", "blocks.{{{index}}}.{part}", "blocks.{index}.{part}*")
    rules = [
        {"pattern": patterns[index % 3].format(index=index, part=part), "gate": GATE}
        for index in range(5000)
        for part in "ab"
    ]
    host = Wide()
    start = time.process_time()
    plan = plan_injection(host, rules)
    assert len(plan.inserts) == 10_000
    assert time.process_time() - start < 10
    with pytest.raises(PatternError, match=r"injection.0: .*matches nothing.*'blocks.4999'"):
        plan_injection(host, [{"pattern": "blocks.49999", "gate": GATE}])


@pytest.mark.parametrize("cfg", [[], {}, {"injection": "layers"}, {"rules": RULES}, ["layers.0"]])
def test_a_config_without_rules(cfg: Any) -> None:
    with pytest.raises(ConfigError, match=r"no list of rules|no dict"):
        plan_injection(Encoder(), cfg)
