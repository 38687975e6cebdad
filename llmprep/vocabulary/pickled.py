"""A pickled ``tiktoken.Encoding``, as nanochat's ``tokenizer.pkl`` -> what it states, without running the pickle.

The machine knows the opcodes that such a pickle is written with (protocols 2 to 5), the class, and how bytes were
written before they had an opcode. Any other opcode or name is refused, and no name is ever looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llmprep.errors import FileFormatError, UsageError, printable, shorten
from llmprep.vocabulary.sound import check_sound
from llmprep.vocabulary.stated import Stated

MAX_STEPS = 1 << 23
"""Opcodes of one pickle."""
MAX_PROTOCOL = 5
_ENCODING = ("tiktoken.core", "Encoding")
_FORMERLY_BYTES = ("_codecs", "encode")
_NAMES = frozenset((_ENCODING, _FORMERLY_BYTES, ("__builtin__", "bytes"), ("builtins", "bytes")))
_STATE = {"name", "pat_str", "mergeable_ranks", "special_tokens"}


class _RefusedError(Exception):
    """The pickle asks for something that no encoding needs."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A name that the pickle mentions; it is never looked up."""

    module: str
    name: str


@dataclass(slots=True)
class _Encoding:
    """An encoding that is being made: its state comes last."""

    state: Any = None


@dataclass(slots=True)
class _Machine:
    """Carries out a pickle's opcodes. ``place`` is where the next one stands."""

    data: bytes
    place: int = 0
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self) -> object:
        """Return the value that the pickle describes. Whatever is raised, the pickle is malformed or not of ours."""
        for _ in range(MAX_STEPS):
            code = self.data[self.place]
            self.place += 1
            if code == 0x2E:  # STOP
                (value,) = self.stack
                if self.place != len(self.data):
                    raise _RefusedError("goes on after its end")
                return value
            step = _STEPS.get(code)
            if step is None:
                raise _RefusedError(f"uses the opcode 0x{code:02x}")
            step(self)
        raise _RefusedError(f"takes more than {MAX_STEPS} steps")

    def take(self, size: int) -> bytes:
        """Return the next bytes. Raises IndexError where there are fewer."""
        end = self.place + size
        if not self.place <= end <= len(self.data):
            raise IndexError("ends too early")
        taken, self.place = self.data[self.place : end], end
        return taken

    def number(self, size: int, *, signed: bool = False) -> int:
        """Return the number that the next bytes are."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> str:
        """Return the text up to the next line end."""
        return self.take(self.data.index(b"\n", self.place) + 1 - self.place)[:-1].decode()

    def since_mark(self) -> list[Any]:
        """Take what was put on the stack since the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


def read_pickled(name: str, data: bytes) -> Stated:
    """Read a pickled encoding of tiktoken.

    Raises `FileFormatError` for any other pickle, and `UsageError` for one that only names an encoding.
    """
    try:
        value = _Machine(data).run()
    except _RefusedError as error:
        raise FileFormatError(f"{name}: no pickled encoding of tiktoken: it {error}; nothing of it was run") from error
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise FileFormatError(f"{name}: no whole pickle: {error}") from error
    state = value.state if isinstance(value, _Encoding) else None
    if isinstance(state, str):
        raise UsageError(
            f"{name}: only names an encoding; leave it out, and say --encoding {shorten(printable(state))}"
        )
    if not isinstance(state, dict) or state.keys() != _STATE:
        raise FileFormatError(f"{name}: no pickled encoding of tiktoken: it has other parts than {', '.join(_STATE)}")
    pattern, ranks, special_tokens = state["pat_str"], state["mergeable_ranks"], state["special_tokens"]
    if not isinstance(pattern, str) or not _maps(ranks, bytes) or not _maps(special_tokens, str):
        raise FileFormatError(f"{name}: its pattern, ranks or special tokens are of another type than tiktoken's")
    if b"" in ranks or len({*ranks.values()}) < len(ranks):
        raise FileFormatError(f"{name}: its ranks have an empty token, or two of one id")
    check_sound(name, ranks, special_tokens)
    return Stated("pickled encoding", ranks, special_tokens, pattern)


def _maps(value: object, kind: type) -> bool:
    """Tell whether a value maps keys of one kind to whole numbers."""
    return isinstance(value, dict) and {*map(type, value)} <= {kind} and {*map(type, value.values())} <= {int}


def _protocol(machine: _Machine) -> None:
    version = machine.number(1)
    if version > MAX_PROTOCOL:
        raise _RefusedError(f"is of protocol {version}")


def _frame(machine: _Machine) -> None:
    machine.take(8)  # frames only group bytes


def _put(slot: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        machine.memo[slot(machine)] = machine.stack[-1]

    return step


def _get(size: int) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        value = machine.memo[machine.number(size)]
        if not isinstance(value, str | bytes | int | _Name):  # a dict used twice is none of an encoding's
            raise _RefusedError(f"uses one {type(value).__name__} twice")
        machine.stack.append(value)

    return step


def _push(read: Callable[[_Machine], object]) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        machine.stack.append(read(machine))

    return step


def _name(module: str, name: str) -> _Name:
    if (module, name) not in _NAMES:
        raise _RefusedError(f"names {shorten(printable(f'{module}.{name}'), 80)}")
    return _Name(module, name)


def _stack_global(machine: _Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(_name(module, name))


def _mark(machine: _Machine) -> None:
    machine.marks.append(len(machine.stack))


def _pair(machine: _Machine) -> None:
    second, first = machine.stack.pop(), machine.stack.pop()
    machine.stack.append((first, second))


def _new(machine: _Machine) -> None:
    arguments, kind = machine.stack.pop(), machine.stack.pop()
    if arguments != () or kind != _Name(*_ENCODING):
        raise _RefusedError("makes another object than an encoding")
    machine.stack.append(_Encoding())


def _reduce(machine: _Machine) -> None:
    """Bytes, as protocol 2 writes them: what they are in Latin-1."""
    match machine.stack.pop(), machine.stack.pop():
        case (str(text), "latin1"), _Name("_codecs", "encode"):
            machine.stack.append(text.encode("latin1"))
        case (), _Name("__builtin__" | "builtins", "bytes"):
            machine.stack.append(b"")
        case _:
            raise _RefusedError("calls something")


def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _set(machine, [key, value])


def _set_items(machine: _Machine) -> None:
    _set(machine, machine.since_mark())


def _set(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, dict):
        raise _RefusedError("sets items of something that is no dict")
    before = len(target)
    target.update(zip(items[::2], items[1::2], strict=True))
    if len(target) != before + len(items) // 2:
        raise _RefusedError("has a key twice")


def _build(machine: _Machine) -> None:
    state, target = machine.stack.pop(), machine.stack[-1]
    if not isinstance(target, _Encoding) or target.state is not None:
        raise _RefusedError("sets attributes of something that is no encoding")
    target.state = state


_STEPS: dict[int, Callable[[_Machine], None]] = {
    0x80: _protocol,
    0x95: _frame,
    ord("c"): _push(lambda machine: _name(machine.line(), machine.line())),
    0x93: _stack_global,
    0x8C: _push(lambda machine: machine.take(machine.number(1)).decode()),
    ord("X"): _push(lambda machine: machine.take(machine.number(4)).decode()),
    ord("C"): _push(lambda machine: machine.take(machine.number(1))),
    ord("B"): _push(lambda machine: machine.take(machine.number(4))),
    ord("K"): _push(lambda machine: machine.number(1)),
    ord("M"): _push(lambda machine: machine.number(2)),
    ord("J"): _push(lambda machine: machine.number(4, signed=True)),
    ord(")"): _push(lambda _: ()),
    ord("}"): _push(lambda _: {}),
    ord("("): _mark,
    0x86: _pair,
    ord("q"): _put(lambda machine: machine.number(1)),
    ord("r"): _put(lambda machine: machine.number(4)),
    0x94: _put(lambda machine: len(machine.memo)),
    ord("h"): _get(1),
    ord("j"): _get(4),
    0x81: _new,
    ord("R"): _reduce,
    ord("s"): _set_item,
    ord("u"): _set_items,
    ord("b"): _build,
}
"""What each opcode does."""
