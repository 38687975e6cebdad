"""Files called .pt that hold code, lie about sizes, are damaged or hold something else: exit code 4, nothing run."""

from __future__ import annotations

import io
import os
import pickle
import shlex
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import Call
from support.refusals import Refusal, check_error, check_refusal, frugal

TAKERS = ("tokenize", "pairs", "window --max-length 4", "embed --max-length 4 --dim 2")
"""Commands that take ids from a .pt file, whose name comes after."""
READERS = (*TAKERS[1:], "embed tokens.pt --max-length 4 --weights")
"""Those that take nothing else."""
IDS = torch.arange(100)
ROWS = IDS.view(5, 20)


def saved(**values: object) -> bytes:
    """What torch writes."""
    sink = io.BytesIO()
    torch.save(values, sink)
    return sink.getvalue()


def zip_of(*records: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of any records, some of whose names stand twice."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, data in records:
            archive.writestr(name, data)
    return sink.getvalue()


def pt_of(pickled: bytes) -> bytes:
    """A file that is sound but for its pickle."""
    return zip_of(("x/data.pkl", pickled), ("x/data/0", bytes(80)), ("x/byteorder", b"little"), ("x/version", b"3\n"))


def refuse(call: Call, data: bytes, line: str, commands: tuple[str, ...] = READERS, more: str = "") -> None:
    """Give a file to each of some commands, which must refuse it with exit code 4."""
    check_refusal(call, Refusal({"x.pt": data}, f"x.pt -o out.pt {more}", 4, f"x.pt: {line}"), commands)


# --- code -----------------------------------------------------------------------------------------


class Calls:
    """Pickles as a call of a function, with whatever else an object may ask for."""

    def __init__(self, function: Any, *arguments: Any, more: tuple[Any, ...] = ()) -> None:
        self._reduced = function, arguments, *more

    def __reduce__(self) -> Any:
        """What pickle writes."""
        return self._reduced


CODE: dict[str, Callable[[str], Any]] = {
    "a command": lambda canary: Calls(os.system, f"mkdir {shlex.quote(canary)}"),
    "a value": lambda canary: {"token_ids": Calls(os.mkdir, canary)},
    "a key": lambda canary: {Calls(os.mkdir, canary): 1},
    "deep inside": lambda canary: {"token_ids": [1], "meta": {"a": [1, [Calls(os.mkdir, canary)]]}},
    "evaluated": lambda canary: {"x": Calls(eval, f"__import__('os').mkdir({canary!r})")},
    "an argument": lambda canary: Calls(str, Calls(str, Calls(os.mkdir, canary))),
    "a state": lambda canary: Calls(OrderedDict, more=({"a": Calls(os.mkdir, canary)},)),
    "an item": lambda canary: Calls(OrderedDict, more=(None, None, iter([("a", Calls(os.mkdir, canary))]))),
    "an instance": lambda canary: f"(V{canary}\nios\nmkdir\n.".encode(),
    "an object": lambda canary: f"(cos\nmkdir\nV{canary}\no.".encode(),
    "thrown away": lambda canary: f"\x80\x02cos\nmkdir\nV{canary}\n\x85R0}}.".encode("latin-1"),
}


@pytest.mark.parametrize("make", CODE.values(), ids=CODE)
def test_nothing_in_a_file_is_run(make: Callable[[str], Any], call: Call, tokens: Path, tmp_path: Path) -> None:
    """A pickle that Python would run, however it hides that, is refused by every command and not run."""
    canary = tmp_path / "canary"
    made = make(str(canary))
    pickled = made if isinstance(made, bytes) else pickle.dumps(made, 2)
    pickle.loads(pickled)  # noqa: S301 - our own, to see that it bites
    canary.rmdir()

    refuse(call, pt_of(pickled), "...nothing was run...")

    assert not canary.exists()


# --- what is no sound .pt file --------------------------------------------------------------------


def valued(opcodes: bytes) -> bytes:
    """A file whose pickle is a dict of one value, which the opcodes make."""
    return pt_of(b"\x80\x02}X\x01\x00\x00\x00x" + opcodes + b"s.")


TWICE = "refused, nothing was run: the pickle uses one list twice"
EMPTY = ("x/data.pkl", b"\x80\x02}.")
UNSOUND: dict[str, tuple[bytes | Callable[[bytes], bytes], str]] = {
    "lists that hold one list twice": (valued(b"]q\x00" + b"](h\x00h\x00eq\x00" * 60), TWICE),
    "a list that holds itself": (valued(b"]q\x00h\x00a"), TWICE),
    "deep lists": (valued(b"]" * 10_000 + b"a" * 9_999), "refused, nothing was run: values are nested more than ..."),
    "a text of 4 GB": (valued(b"X\xff\xff\xff\xffabc"), "its pickle is malformed: ..."),
    "one element as a table": (
        saved(**dict.fromkeys(("token_ids", "input_ids", "target_ids", "token_embedding.weight",
                               "pos_embedding.weight"), torch.zeros(1, dtype=torch.int64).expand(10**6, 10**6))),
        "refused, nothing was run: a tensor ... stride 0...",
    ),
    "a record twice": (zip_of(EMPTY, ("y/data.pkl", EMPTY[1])), "unsafe or duplicate record name 'y/data.pkl'"),
    "a record outside": (zip_of(EMPTY, ("x/../../evil", b"")), "unsafe or duplicate record name 'x/../../evil'"),
    "another zip": (zip_of(("x/notes.txt", b"a zip like any other")), "a zip, but not a .pt file: it has no data.pkl"),
    "compressed": (zip_of(EMPTY, ("x/data/0", bytes(8 << 20)), method=zipfile.ZIP_DEFLATED), "...compressed..."),
    "nothing": (b"", "not a .pt file..."),
    "text": (b"It was the best of times", "not a .pt file..."),
    "a picture": (b"\x89PNG\r\n\x1a\n", "not a .pt file..."),
    "four bytes": (lambda sound: sound[:4], "not a .pt file, or cut short..."),
    "a third": (lambda sound: sound[: len(sound) // 3], "not a .pt file, or cut short..."),
    "a byte short": (lambda sound: sound[:-1], "not a .pt file, or cut short..."),
    "a flipped bit": (lambda sound: sound[:700] + bytes([sound[700] ^ 4]) + sound[701:], "...checksum of record ..."),
}  # fmt: skip


@pytest.mark.parametrize("what", UNSOUND)
def test_what_is_no_sound_pt_file_is_refused(what: str, call: Call, tokens: Path) -> None:
    """What would unfold, lies, leaves the archive, is cut short or something else is refused at once."""
    make, line = UNSOUND[what]
    data = make if isinstance(make, bytes) else make(tokens.read_bytes())
    refuse(call, data, line)

    if data.startswith(b"PK"):
        with frugal():
            refuse(call, data, line, READERS[:1])


def test_a_flipped_bit_never_changes_the_result(call: Call, tokens: Path) -> None:
    """A bit flipped anywhere is an error, or lies where nothing is said, and the result is the same."""
    data = tokens.read_bytes()
    command = ("window", "x.pt", "--max-length", "4", "-o", "y.pt", "-q")
    results = set()

    for byte in (0, 3, *range(4, len(data), len(data) // 40)):
        Path("y.pt").unlink(missing_ok=True)
        Path("x.pt").write_bytes(data[:byte] + bytes([data[byte] ^ 1 << byte % 7]) + data[byte + 1 :])
        ended = call(*command)
        if ended.code:
            check_error(ended, 4, "x.pt: ...")
        results.add(Path("y.pt").read_bytes() if Path("y.pt").exists() else ended.code)

    Path("x.pt").write_bytes(data)
    assert call(*command).code == 0
    assert results == {4, Path("y.pt").read_bytes()}


# --- other contents -------------------------------------------------------------------------------

OTHERS: dict[str, tuple[dict[str, object], str]] = {
    "nothing": ({}, "...no tensor..."),
    "no tensor": ({"token_ids": IDS.tolist()}, "...no tensor..."),
    "another name": ({"ids": IDS}, "...holds ids..."),
    "floats": ({"token_ids": IDS.float()}, "...dtype float32..."),
    "a table": ({"token_ids": ROWS}, "...shape (5, 20)..."),
    "no targets": ({"input_ids": ROWS}, "...target_ids: missing..."),
    "few targets": ({"input_ids": ROWS, "target_ids": ROWS[:4]}, "...differ in shape..."),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_tensors_than_ids_are_refused(what: str, call: Call) -> None:
    """A file of another key, dtype or rank is refused with what was found."""
    values, line = OTHERS[what]
    refuse(call, saved(**values), line, TAKERS)


@pytest.mark.parametrize("wrong", [50257, 2**40, -1])
def test_a_wrong_id_is_named_with_its_place(wrong: int, call: Call) -> None:
    """Every command that reads ids checks each of them, in windows too; the last of the vocabulary is right."""
    reason = "is negative" if wrong < 0 else ">= vocabulary 50257"
    ids = IDS.clone()
    ids[42] = wrong

    refuse(call, saved(token_ids=ids), f"id {wrong} at [42] {reason}...", TAKERS, "--encoding gpt2")
    for values in (
        {"input_ids": ids.view(5, 20), "target_ids": ROWS},
        {"input_ids": ROWS, "target_ids": ids.view(5, 20)},
    ):
        refuse(call, saved(**values), f"id {wrong} at [2, 2] {reason}...", ("embed --dim 2",), "--encoding gpt2")
    Path("y.pt").write_bytes(saved(token_ids=torch.full((9,), 50256)))
    assert call(*TAKERS[3].split(), "y.pt", "--encoding", "gpt2", "-q").code == 0


@pytest.mark.parametrize(
    "values", [{"token_ids": IDS}, dict.fromkeys(("input_ids", "target_ids"), IDS.view(25, 4))], ids=list
)
def test_no_vocabulary_is_guessed(values: dict[str, object], call: Call) -> None:
    """Ids of another program are nobody's until --encoding says whose."""
    line = "x.pt: does not tell which vocabulary its ids are of; name it with --encoding"
    check_refusal(call, Refusal({"x.pt": saved(**values)}, "x.pt -o out.pt", 2, line), TAKERS)


META: list[tuple[str, object]] = [
    *(("n_vocab", value) for value in (10**12, 0, True, "50257", None)),
    ("n_tokens", -1), ("sources", [{}]), ("encoding", 5), ("content_sha256", 7), ("options", []),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), META)
def test_meta_of_another_form_is_refused(key: str, value: object, call: Call, tokens: Path) -> None:
    """What a file says of itself allots no memory and is not stumbled over: a wrong figure is refused by name."""
    held = torch.load(tokens, weights_only=True)
    data = saved(**held | {"meta": held["meta"] | {key: value}})

    refuse(call, data, f"meta: ...{key}...", TAKERS)
    with frugal():
        refuse(call, data, "...", TAKERS[:1])
