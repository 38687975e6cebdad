"""Files called .pt that hold code, lie about sizes, are damaged or hold something else: exit code 4, nothing run.

tests/ptfile has such files in every form; here they are given to the commands.
"""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import Call
from support.ptfiles import Calls, zip_bytes
from support.refusals import Refusal, check_refusal, frugal

TAKERS = ("tokenize", "pairs", "window --max-length 4", "embed --max-length 4 --dim 2")
"""Commands that take ids from a .pt file, whose name comes after."""
READERS = (*TAKERS[1:3], "embed tokens.pt --max-length 4 --weights")
"""Those that take nothing else."""
IDS = torch.arange(100)
ROWS = IDS.view(5, 20)
NO_VALUES = b"\x80\x02}."
torch.save({"token_ids": IDS}, OLD_FORMAT := io.BytesIO(), _use_new_zipfile_serialization=False)


def saved(**values: object) -> bytes:
    """What torch writes."""
    torch.save(values, sink := io.BytesIO())
    return sink.getvalue()


def with_pickle(pickled: bytes, name: str = "x/data/0", data: bytes = bytes(80), method: int = 0) -> bytes:
    """A file of one pickle and one record."""
    return zip_bytes({"x/data.pkl": pickled, name: data}, method)


def refuse(call: Call, data: bytes, line: str, commands: tuple[str, ...] = READERS, more: str = "") -> None:
    """Give a file to each of some commands, which must refuse it with exit code 4."""
    check_refusal(call, Refusal({"x.pt": data}, f"x.pt -o out.pt {more}", 4, f"x.pt: {line}"), commands)


CODE: dict[str, Any] = {
    "a command": Calls(os.system, "mkdir canary"),
    "deep inside": {"token_ids": [1], "meta": {"a": [1, [Calls(os.mkdir, "canary")]]}},
    "an instance": b"(Vcanary\nios\nmkdir\n.",
    "thrown away": b"\x80\x02cos\nmkdir\nVcanary\n\x85R0}.",
}


@pytest.mark.parametrize("code", CODE.values(), ids=CODE)
def test_nothing_in_a_file_is_run(code: Any, call: Call, tokens: Path) -> None:
    """A pickle that Python would run, however it hides that, is refused by every command and not run."""
    pickled = code if isinstance(code, bytes) else pickle.dumps(code, 2)
    pickle.loads(pickled)  # noqa: S301 - our own, to see that it bites
    Path("canary").rmdir()
    refuse(call, with_pickle(pickled), "...nothing was run...")
    assert not Path("canary").exists()


UNSOUND: dict[str, tuple[bytes | Callable[[bytes], bytes], str]] = {
    "repeated": (saved(token_ids=IDS[:1].expand(10**6, 10**6)), "refused, nothing was run: a tensor of stride 0 ..."),
    "a record outside": (with_pickle(NO_VALUES, "x/../../evil"), "unsafe or duplicate record name 'x/../../evil'"),
    "compressed": (with_pickle(NO_VALUES, data=bytes(8 << 20), method=zipfile.ZIP_DEFLATED), "...compressed..."),
    "text": (b"It was the best of times", "not a .pt file..."),
    "JSON": (b'{"token_ids": [1, 2]}', "not a .pt file..."),
    "nothing": (b"", "not a .pt file..."),
    "torch's old format": (OLD_FORMAT.getvalue(), "not a .pt file..."),
    "another archive": (zip_bytes({"x/version": b"3"}), "a zip, but not a .pt file: it has no data.pkl"),
    "a byte short": (lambda sound: sound[:-1], "not a .pt file, or cut short..."),
    "a flipped bit": (lambda sound: sound[:700] + bytes([sound[700] ^ 4]) + sound[701:], "...checksum of record ..."),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_what_is_no_sound_pt_file_is_refused(what: str, call: Call, tokens: Path) -> None:
    """What would unfold, leaves the archive, is cut short, damaged or something else is refused at once."""
    make, line = UNSOUND[what]
    data = make if isinstance(make, bytes) else make(tokens.read_bytes())
    refuse(call, data, line, READERS[1:])
    if data.startswith(b"PK"):
        with frugal():
            refuse(call, data, line, READERS[1:2])


SHAPES: list[tuple[dict[str, torch.Tensor], int, str]] = [
    ({"token_ids": ROWS}, 4, "token_ids has shape (5, 20) and dtype int64; need (n,) integers"),
    ({"token_ids": IDS / 2}, 4, "token_ids has shape (100,) and dtype float32; need (n,) integers"),
    ({"token_ids": IDS[:0]}, 3, "empty: 0 tokens"),
    ({"input_ids": ROWS, "target_ids": IDS}, 4, "target_ids: shape (100,), dtype int64; a windows file has ..."),
    ({"input_ids": ROWS / 2, "target_ids": ROWS}, 4, "input_ids: shape (5, 20), dtype float32; a windows file has ..."),
    ({"input_ids": ROWS, "target_ids": ROWS[:2]}, 4, "input_ids (5, 20) and target_ids (2, 20) differ in shape"),
    ({"input_ids": ROWS[:0], "target_ids": ROWS[:0]}, 3, "empty: 0 windows of 20 tokens"),
    ({"words": ROWS}, 4, "holds words; a tokens file has token_ids (n,), a windows file input_ids"),
]


@pytest.mark.parametrize(("values", "code", "line"), SHAPES, ids=[line for *_, line in SHAPES])
def test_tensors_of_another_form_are_refused(values: dict[str, torch.Tensor], code: int, line: str, call: Call) -> None:
    """Ids are integers, in one row or in pairs of windows, and there is one at least."""
    row = Refusal({"x.pt": saved(**values)}, "x.pt -o out.pt --encoding gpt2", code, f"x.pt: {line}")
    check_refusal(call, row, (*TAKERS[:2], TAKERS[3]))


@pytest.mark.parametrize("wrong", [50257, 2**40, -1])
def test_a_wrong_id_is_named_with_its_place(wrong: int, call: Call) -> None:
    """Every command that reads ids checks each of them, in windows too; the last of the vocabulary is right."""
    reason = "is negative" if wrong < 0 else ">= vocabulary 50257"
    ids = IDS.clone()
    ids[42] = wrong
    refuse(call, saved(token_ids=ids), f"id {wrong} at [42] {reason}...", TAKERS, "--encoding gpt2")
    for inputs, targets in ((ids.view(5, 20), ROWS), (ROWS, ids.view(5, 20))):
        data = saved(input_ids=inputs, target_ids=targets)
        refuse(call, data, f"id {wrong} at [2, 2] {reason}...", ("embed --dim 2",), "--encoding gpt2")
    Path("y.pt").write_bytes(saved(token_ids=torch.full((9,), 50256)))
    assert call(*TAKERS[3].split(), "y.pt", "--encoding", "gpt2", "-q").code == 0


@pytest.mark.parametrize("values", [{"token_ids": IDS}, {"input_ids": ROWS[:, :4], "target_ids": ROWS[:, 1:5]}])
def test_no_vocabulary_is_guessed(values: dict[str, object], call: Call) -> None:
    """Ids of another program are nobody's until --encoding says whose."""
    line = "x.pt: does not tell which vocabulary its ids are of; name it with --encoding or --tokenizer"
    check_refusal(call, Refusal({"x.pt": saved(**values)}, "x.pt -o out.pt", 2, line), TAKERS)


def test_meta_of_another_form_is_refused(call: Call, tokens: Path) -> None:
    """What a file says of itself allots no memory and is not stumbled over: a wrong figure is refused by name."""
    held = torch.load(tokens, weights_only=True)
    newer = saved(**held | {"meta": held["meta"] | {"format": "llmprep 99"}})
    refuse(call, newer, "format is 'llmprep 99', this llmprep reads ...", TAKERS[:3])
    for key, value in {"n_vocab": 10**12, "n_tokens": -1, "sources": [{}], "encoding": 5, "options": []}.items():
        data = saved(**held | {"meta": held["meta"] | {key: value}})
        refuse(call, data, f"meta: ...{key}...", TAKERS[:3])
        with frugal():
            refuse(call, data, f"meta: ...{key}...", TAKERS[2:3])
