"""Show what an injection would do to a model, or try it: ``inject.py --model-factory pkg.mod:fn --config C --plan``.

python tools/inject.py --model-factory my_project.models:build --config configs/fusion/qd_detr_layer_gates.yaml --plan
python tools/inject.py --model-factory my_project.models:build --config gates.py --plan --json

The factory is called without arguments and returns the host. With ``--plan`` the host stays as it is; without, the
rules are injected and taken out again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import nn

import gatefuse_plugins.plugins  # noqa: F401  registers gates and fusions
from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.errors import ConfigError, GatefuseError
from gatefuse_plugins.gates import gate_parameters
from gatefuse_plugins.injection import eject, inject, injected_state, load_injection, plan_injection
from gatefuse_plugins.user_code import call_function, load_module


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-factory", required=True, metavar="MODULE:FUNCTION", help="gives the host")
    parser.add_argument("--config", required=True, type=Path, help="rules: .yaml, .json or .py")
    parser.add_argument("--cfg-options", nargs="+", metavar="KEY=VALUE", help="overrides of a .py config")
    parser.add_argument("--imports", nargs="+", default=[], metavar="MODULE", help="modules that register your parts")
    parser.add_argument("--plan", action="store_true", help="show the plan and change nothing")
    parser.add_argument("--json", action="store_true", help="the plan as JSON")
    return parser.parse_args(argv)


def build_host(factory: str) -> nn.Module:
    """Import and call ``pkg.mod:fn``.

    Raises:
        ConfigError: there is no such function, it fails, or it gives no module.
    """
    host = call_function(factory, "--model-factory", "an nn.Module")
    if not isinstance(host, nn.Module):
        raise ConfigError(f"--model-factory {factory}: returned a {type(host).__name__}; expected an nn.Module")
    return host


def run(args: argparse.Namespace) -> int:
    for module in args.imports:
        load_module(module, "--imports")
    try:
        rules = load_injection(args.config, args.cfg_options)
    except (GatefuseError, OSError) as error:
        raise ConfigError(f"--config {error}") from error
    host = build_host(args.model_factory)
    plan = plan_injection(host, rules) if args.plan else inject(host, rules)
    print(json.dumps(plan.to_json(), indent=2) if args.json else plan)
    if not args.plan:
        count = sum(value.numel() for value in injected_state(host).values())
        total = sum(parameter.numel() for parameter in gate_parameters(host))
        eject(host)
        print(f"injected and taken out again: {count:,} values, {total:,} gate parameters in the host", file=sys.stderr)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_tool(run, parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
