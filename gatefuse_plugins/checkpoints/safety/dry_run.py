"""A dry run of a pickle: every instruction is followed and nothing is built, imported or called.

It finds all globals that a file names (one message can list them), sizes that the file cannot back, keys that come
twice, and instructions that ``torch.save`` never writes, before ``torch.load`` sees the file. Protocols 2 to 5 are
followed, so that a bare pickle of another origin is refused by what it asks for, too.
"""

from __future__ import annotations

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from gatefuse_plugins.checkpoints.safety.globals import (
    ALLOWED,
    CALLS,
    CLASSES,
    Instance,
    RefusedError,
    check_contents,
)
from gatefuse_plugins.checkpoints.safety.tensors import ITEM_BYTES, Named, Storage, require

_MAX_INSTRUCTIONS = 5_000_000  # a BLIP-2 checkpoint with its optimizer has 100,000
_VALUES = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "SHORT_BINSTRING")
_BYTES = ("BINBYTES", "SHORT_BINBYTES")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_KEYS = (str, int, float, bool, type(None))  # a tuple's hash can be made to take for ever


class _Refused:
    """Stands for a refused global and for whatever it would have made."""


def _name(value: Any) -> str:
    return value.name if isinstance(value, Named) else f"a {type(value).__name__}"


class PlainPickle:
    """Follows pickles of one file.

    Args:
        check_storage: called with key and bytes of each storage that the pickle refers to; raises ``ValueError``
            where the file cannot back them.

    Attributes:
        refused: names of what no honest checkpoint holds, in the order found, each once.
    """

    def __init__(self, check_storage: Callable[[str, int], None]) -> None:
        self.refused: list[str] = []
        self._check_storage = check_storage
        self._steps: dict[str, Callable[[Any], None]] = {
            **dict.fromkeys((*_VALUES, *_BYTES), self._push),
            **{name: partial(self._constant, value) for name, value in _CONSTANTS.items()},
            "EMPTY_LIST": lambda _: self._push([]),
            "EMPTY_DICT": lambda _: self._push({}),
            "TUPLE": lambda _: self._push(tuple(self._pop_to_mark())),
            **{f"TUPLE{count}": partial(self._tuple, count) for count in (1, 2, 3)},
            "MARK": lambda _: self._marks.append(len(self._stack)),
            "PROTO": lambda version: require(2 <= version <= 5, f"pickle protocol {version}"),
            "FRAME": lambda _: None,
            "STOP": lambda _: None,
            **dict.fromkeys(("BINPUT", "LONG_BINPUT"), self._put),
            "MEMOIZE": lambda _: self._put(len(self._memo)),
            **{name: lambda index: self._push(self._memo[index]) for name in ("BINGET", "LONG_BINGET")},
            "APPEND": lambda _: self._extend([self._stack.pop()]),
            "APPENDS": lambda _: self._extend(self._pop_to_mark()),
            "SETITEM": lambda _: self._set_items([self._stack.pop() for _ in range(2)][::-1]),
            "SETITEMS": lambda _: self._set_items(self._pop_to_mark()),
            "GLOBAL": lambda name: self._global(*name.rsplit(" ", 1)),
            "STACK_GLOBAL": lambda _: self._global(*[self._stack.pop() for _ in range(2)][::-1]),
            "REDUCE": lambda _: self._call(),
            "NEWOBJ": lambda _: self._new_object(),
            "BUILD": lambda _: self._build(),
            "BINPERSID": lambda _: self._storage(self._stack.pop()),
        }

    def follow(self, stream: IO[bytes]) -> Any:
        """Follow one pickle from ``stream`` and return its object with stand-ins for all that is no plain value.

        Reads up to and including the pickle's end. Where a global was refused, what follows may not be followed to
        the end; then ``None`` is returned.

        Raises:
            ValueError: malformed, or not what ``torch.save`` writes.
        """
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        try:
            for count, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
                require(count < _MAX_INSTRUCTIONS, f"a pickle of more than {_MAX_INSTRUCTIONS} instructions")
                step = self._steps.get(instruction.name)
                if step is None:
                    raise ValueError(f"pickle instruction {instruction.name}, which torch.save never writes")
                step(argument)
            return self._stack.pop()
        except Exception as error:  # arbitrary bytes underflow the stack, misplace types, ...
            if self.refused:
                return None
            raise error if isinstance(error, ValueError) else ValueError(f"malformed pickle: {error!r:.80}") from None

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _constant(self, value: Any, _: Any) -> None:
        self._stack.append(value)

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _tuple(self, count: int, _: Any) -> None:
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def _refuse(self, name: str) -> _Refused:
        if name not in self.refused:
            self.refused.append(name)
        return _Refused()

    def _global(self, module: str, name: str) -> None:
        require(type(module) is str and type(name) is str, "a global without a name")
        # protocol 2 writes Python 2's names; torch.load reads them by the same tables
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        self._push(Named(full) if full in ALLOWED else self._refuse(full))

    def _call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if isinstance(function, _Refused):
            return self._push(function)
        called = isinstance(function, Named) and function.name in CALLS and isinstance(arguments, tuple)
        require(called, f"calls {_name(function)}")
        try:
            return self._push(CALLS[function.name](*arguments))
        except RefusedError as refusal:
            return self._push(self._refuse(str(refusal)))

    def _new_object(self) -> None:
        arguments, cls = self._stack.pop(), self._stack.pop()
        if isinstance(cls, _Refused):
            return self._push(cls)
        known = isinstance(cls, Named) and cls.name in CLASSES and arguments == ()
        require(known, f"makes {_name(cls)} from arguments")
        return self._push(Instance(cls.name))

    def _build(self) -> None:
        state = self._stack.pop()
        if not isinstance(self._stack[-1], _Refused):
            check_contents(self._stack[-1], state)

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], _Refused):
            require(type(self._stack[-1]) is list, "items for what is no list")
            self._stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, _Refused):
            return
        require(isinstance(target, dict), "items for what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            require(isinstance(key, _KEYS), f"a dict key of type {type(key).__name__}")
            require(key not in target, f"the key {key!r:.80} twice in one dict")
            target[key] = value

    def _storage(self, reference: Any) -> None:
        require(isinstance(reference, tuple) and len(reference) in (5, 6), "a malformed storage")
        tag, kind, key, location, elements, *view = reference
        fine = tag == "storage" and isinstance(kind, Named) and kind.name in ITEM_BYTES and not any(view)
        fine = fine and type(key) is str and type(location) is str and type(elements) is int and elements >= 0
        require(fine, "a malformed storage")
        total = elements * ITEM_BYTES[kind.name]
        self._check_storage(key, total)
        self._push(Storage(ITEM_BYTES[kind.name], total))
