"""The globals that honest checkpoints name, each with what its call may look like; nothing here is ever called.

``torch.load(weights_only=True)`` allows more than that (sparse, quantised and wrapper tensors, sizes as it is told) and
trusts what numpy is told about arrays. These stand-ins take a call's arguments, check that they add up, and build
nothing. No message shows a value that is not known to be short: a nest of shared tuples takes for ever to print.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gatefuse_plugins.checkpoints.safety.tensors import (
    ITEM_BYTES,
    Named,
    naturals,
    parameter,
    require,
    tensor,
    tensor_with_dtype,
)

HISTORY_BUFFER = "mmengine.logging.history_buffer.HistoryBuffer"
ONE_CYCLE = "mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler"
NAMESPACE = "argparse.Namespace"
METHODS = {
    HISTORY_BUFFER: ("min", "max", "mean", "current"),  # statistics of the message hub
    ONE_CYCLE: ("_annealing_cos", "_annealing_linear"),  # state of a one-cycle schedule
}
"""Class to the functions of it that mmengine's checkpoints refer to, through ``getattr``."""
_NUMPY_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16)")


class RefusedError(Exception):
    """The pickle asks for what no honest checkpoint holds; ``str`` names it."""


@dataclass(frozen=True)
class NumpyType:
    """A numeric or boolean numpy dtype."""

    item_bytes: int


class NumpyArray:
    """A numpy array before its contents arrive."""


@dataclass(frozen=True)
class Instance:
    """A ``Namespace`` or ``HistoryBuffer`` before its attributes arrive."""

    name: str


def _device(kind: Any, index: Any = 0) -> Named:
    require(type(kind) is str and type(index) is int, "a malformed torch.device")
    return Named("torch.device")


def _ordered_dict(pairs: Any = ()) -> OrderedDict[Any, Any]:
    require(len(pairs) == 0, "an OrderedDict that is not filled item by item")
    return OrderedDict()


def _counter(counts: Any) -> dict[Any, Any]:
    require(type(counts) is dict, "a malformed Counter")
    return {**counts}


def _encode(text: Any, encoding: Any) -> bytes:
    require(type(text) is str and encoding in ("latin1", "latin-1"), "bytes in an encoding that pickle never writes")
    return text.encode("latin1")


def _numpy_type(code: Any, align: Any = False, copy: Any = True) -> NumpyType:
    if type(code) is not str or not (found := _NUMPY_DTYPE.fullmatch(code)):
        raise RefusedError(f"numpy.dtype({code[:20]!r})" if type(code) is str else "numpy.dtype")
    require(type(align) is bool and type(copy) is bool, "a malformed numpy.dtype")
    return NumpyType(int(found.group(1)[1:]))


def _numpy_array(cls: Any, shape: Any, code: Any) -> NumpyArray:
    require(cls == Named("numpy.ndarray") and shape == (0,) and code == b"b", "a malformed numpy array")
    return NumpyArray()


def _numpy_scalar(dtype: Any, content: Any) -> NumpyType:
    fine = isinstance(dtype, NumpyType) and type(content) is bytes and len(content) == dtype.item_bytes
    require(fine, "a malformed numpy scalar")
    return dtype


def _method(owner: Any, name: Any) -> Named:
    held = METHODS.get(owner.name, ()) if isinstance(owner, Named) else ()
    if name not in held:
        asked = owner.name if isinstance(owner, Named) else type(owner).__name__
        name = name[:40] if type(name) is str else type(name).__name__
        raise RefusedError(f"builtins.getattr({asked}, {name!r}): more than mmengine's checkpoints need")
    return Named(f"{owner.name}.{name}")


CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.Counter": _counter,  # the milestones of a MultiStepLR
    "torch._utils._rebuild_tensor": tensor,
    "torch._utils._rebuild_tensor_v2": tensor,
    "torch._utils._rebuild_tensor_v3": tensor_with_dtype,
    "torch._utils._rebuild_parameter": parameter,
    "torch.Size": lambda sizes: naturals(sizes, "shape"),
    "torch.device": _device,
    "_codecs.encode": _encode,
    "numpy.dtype": _numpy_type,
    **{f"numpy.{package}.multiarray._reconstruct": _numpy_array for package in ("core", "_core")},
    **{f"numpy.{package}.multiarray.scalar": _numpy_scalar for package in ("core", "_core")},
    "builtins.getattr": _method,
}
CLASSES = (NAMESPACE, HISTORY_BUFFER)  # made without arguments and filled from a dict
ALLOWED = frozenset([*CALLS, *CLASSES, *METHODS, *ITEM_BYTES, "numpy.ndarray"])


def check_contents(target: Any, state: Any) -> None:
    """Whether ``state`` may be given to ``target`` (a pickle's BUILD instruction).

    Raises:
        ValueError: no honest checkpoint holds such a state.
    """
    if isinstance(target, Instance):
        require(isinstance(state, dict) and all(type(key) is str for key in state), f"malformed {target.name}")
    elif type(target) is OrderedDict:
        # any other attribute could shadow a method of the dict
        require(isinstance(state, dict) and set(state) <= {"_metadata"}, "an OrderedDict with attributes")
    elif isinstance(target, NumpyType):
        fine = isinstance(state, tuple) and len(state) == 8 and state[1] in ("<", ">", "|", "=")
        # flags other than these make numpy take bytes for pointers
        require(fine and (state[0], *state[2:]) == (3, None, None, None, -1, -1, 0), "a malformed numpy.dtype")
    elif isinstance(target, NumpyArray):
        require(isinstance(state, tuple) and len(state) == 5, "a malformed numpy array")
        _, shape, dtype, fortran, content = state
        require(isinstance(dtype, NumpyType) and type(fortran) is bool and type(content) is bytes, "a malformed array")
        needed = math.prod(naturals(shape, "shape")) * dtype.item_bytes
        require(needed == len(content), f"a numpy array of shape {shape} with {len(content)} bytes, not {needed}")
    else:
        raise ValueError(f"attributes for a {type(target).__name__}")
