"""How every command-line tool ends: by one meaning of the exit status, with errors as a line on stderr."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from gatefuse_plugins.errors import GatefuseError


def run_tool(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """The exit status of a tool that does ``run(args)``.

    0: done. 1: the tool found what it looks for, such as faults of a data set; only ``run`` itself gives it. 2: an
    error of input or use, told as ``NAME.py: error: ...`` just as argparse does. 130: interrupted from the keyboard.
    """
    name = Path(sys.argv[0]).name
    try:
        return run(args)
    except (GatefuseError, OSError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except Exception:
        traceback.print_exc()
        return 2  # Python's own 1 would read as a finding
