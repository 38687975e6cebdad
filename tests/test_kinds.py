from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import reference
from support.commands import Call

from llmprep import __version__
from llmprep.choices import BackendName, Effort, Reading
from llmprep.errors import EmptyError, FileFormatError, UsageError
from llmprep.formats.ids import check_ids
from llmprep.formats.meta import check_dtype, make_meta
from llmprep.formats.tokens import file_tokens, write_tokens
from llmprep.formats.windows import check_window_ids, file_windows, write_windows
from llmprep.inputs import open_tokens, open_windows
from llmprep.ptfile.reading import PtFile, read_pt


@pytest.fixture(scope="module")
def text(story: Path) -> str:
    """The story's text."""
    return story.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ids(text: str) -> list[int]:
    """The story's ids, as tiktoken gives them for the whole."""
    return reference.encode(text)


Make = Callable[..., dict[str, Any]]
Split = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture
def make(call: Call) -> Make:
    """Run a command that writes a file, which must go well; return what torch makes of the file."""

    def made(out: Path, *arguments: str | Path) -> dict[str, Any]:
        ended = call(*arguments, "-o", out, "-q")
        assert ended.code == 0, ended.stderr
        loaded: dict[str, Any] = torch.load(out, weights_only=True)
        return loaded

    return made


def sha256(data: bytes) -> str:
    """The hash that ``meta`` holds."""
    return hashlib.sha256(data).hexdigest()


def ids_sha256(ids: Sequence[int]) -> str:
    """The hash of ids as little-endian uint32."""
    return sha256(np.array(ids, "<u4").tobytes())


# --- what each kind holds -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint16"])
def test_a_tokens_file(make: Make, dtype: str, story: Path, ids: list[int], tmp_path: Path) -> None:
    """`tokenize` writes ``token_ids`` (n,) and ``meta``, in the dtype that was asked for."""
    loaded = make(tmp_path / "x.pt", "tokenize", story, "--dtype", dtype)

    assert list(loaded) == ["token_ids", "meta"]
    assert loaded["token_ids"].dtype is getattr(torch, dtype)
    assert loaded["token_ids"].tolist() == ids


def test_a_pairs_file(make: Make, story: Path, ids: list[int], tmp_path: Path) -> None:
    """`pairs` writes contexts padded on the right with the end-of-text id, their lengths, and targets, int64."""
    loaded = make(tmp_path / "x.pt", "pairs", story, "--context-size", "3", "--start", "50", "--windows", "2")

    expected = [
        *reference.pair_rows(ids[50:], 3),
        *reference.pair_rows(ids[53:], 3),
    ]
    assert list(loaded) == ["contexts", "lengths", "targets", "meta"]
    assert {loaded[key].dtype for key in ("contexts", "lengths", "targets")} == {torch.int64}
    assert loaded["contexts"].tolist() == [context + [50256] * (3 - len(context)) for context, _ in expected]
    assert loaded["lengths"].tolist() == [len(context) for context, _ in expected]
    assert loaded["targets"].tolist() == [target for _, target in expected]


@pytest.mark.parametrize(
    ("max_length", "stride", "dtype"),
    [
        (4, 4, "int64"),
        (7, 3, "int32"),
        (256, 1, "int64"),
        (3, 4, "uint16"),
        (5, 11, "int32"),
        (1, 1, "uint16"),
    ],
)
def test_a_windows_file(
    make: Make, max_length: int, stride: int, dtype: str, story: Path, ids: list[int], tmp_path: Path
) -> None:
    """`window` writes ``input_ids`` and ``target_ids`` (N, L), equal to the textbook loop's rows."""
    size = ("--max-length", str(max_length), "--stride", str(stride))

    loaded = make(tmp_path / "x.pt", "window", story, *size, "--dtype", dtype)

    inputs, targets = reference.window_rows(ids, max_length, stride)
    assert list(loaded) == ["input_ids", "target_ids", "meta"]
    assert loaded["input_ids"].dtype is loaded["target_ids"].dtype is getattr(torch, dtype)
    assert np.array_equal(loaded["input_ids"].numpy(), np.array(inputs))
    assert np.array_equal(loaded["target_ids"].numpy(), np.array(targets))


def test_an_embeddings_file(make: Make, story: Path, text: str, tmp_path: Path) -> None:
    """`embed` writes ``input_embeddings`` (N, L, D), equal to the course's under the same seed."""
    loaded = make(tmp_path / "x.pt", "embed", story, "--max-length", "4", "--batches", "3")

    batches = zip(range(3), reference.embeddings(text), strict=False)
    assert list(loaded) == ["input_embeddings", "meta"]
    assert loaded["input_embeddings"].shape == (24, 4, 256)
    assert torch.equal(loaded["input_embeddings"], torch.cat([batch for _, batch in batches]))


TEXT = {"newlines": "universal", "separator": "eot", "special": "allow"}


@pytest.mark.parametrize(
    ("command", "kind", "options"),
    [
        (["tokenize", "--dtype", "int32"], "tokens", {"dtype": "int32"}),
        (["pairs", "--start", "9"], "pairs", {"start": 9, "context_size": 4, "windows": 1, "dtype": "int64"}),
        (
            ["window", "--max-length", "7", "--stride", "3"],
            "windows",
            {"max_length": 7, "stride": 3, "dtype": "int64", "dense": False},
        ),
        (
            ["embed", "--max-length", "4", "--dim", "2", "--dtype", "float16", "--batches", "2", "--shuffle"],
            "embeddings",
            {
                "max_length": 4,
                "stride": 4,
                "dim": 2,
                "context_length": 1024,
                "batch_size": 8,
                "n_windows": 16,
                "seed": 123,
                "shuffle": True,
                "dtype": "float16",
                "weights_sha256": None,
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_meta(
    make: Make, command: list[str], kind: str, options: dict[str, object], story: Path, ids: list[int], tmp_path: Path
) -> None:
    """``meta`` says what a file was made from and with which options that decide its content, and nothing else."""
    meta = make(tmp_path / "x.pt", command[0], story, *command[1:])["meta"]

    assert meta == {
        "format": "llmprep/1",
        "kind": kind,
        "llmprep_version": __version__,
        "encoding": "gpt2",
        "vocab_sha256": sha256(reference.rank_lines(reference.gpt2_ranks())),
        "n_vocab": reference.tiktoken_encoding("gpt2").n_vocab,
        "n_tokens": len(ids),
        "options": TEXT | options,
        "sources": [
            {
                "name": "story.txt",
                "bytes": story.stat().st_size,
                "sha256": sha256(story.read_bytes()),
                "tokens": len(ids),
                "documents": 1,
            }
        ],
        "content_sha256": ids_sha256(ids),
    }


def test_several_inputs(make: Make, story: Path, ids: list[int], tmp_path: Path) -> None:
    """Each input has its record; the separator between them belongs to none, and counts in the stream."""
    (tmp_path / "b.txt").write_text("The end.")
    end = reference.encode("The end.")

    loaded = make(tmp_path / "x.pt", "tokenize", story, tmp_path / "b.txt")

    assert loaded["token_ids"].tolist() == [*ids, 50256, *end]
    assert [(s["name"], s["tokens"], s["documents"]) for s in loaded["meta"]["sources"]] == [
        ("story.txt", len(ids), 1),
        ("b.txt", len(end), 1),
    ]
    assert loaded["meta"]["n_tokens"] == len(ids) + 1 + len(end)


# --- what a file does not depend on ---------------------------------------------------------------

COMMANDS = [
    ["tokenize"],
    ["pairs", "--windows", "3"],
    ["window", "--max-length", "7", "--stride", "3"],
    ["window", "--max-length", "7", "--stride", "9"],
    ["window", "--max-length", "7", "--dense"],
    ["embed", "--max-length", "4", "--dim", "3", "--shuffle"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_bytes_do_not_depend_on_where_and_when(
    make: Make, command: list[str], story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another folder, spelling of the path, output name, clock, time zone, home and user: the same bytes."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(story, elsewhere)
    make(tmp_path / "x.pt", command[0], story, *command[1:])
    before = (tmp_path / "x.pt").read_bytes()

    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    monkeypatch.setenv("HOME", "/none")
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setattr(time, "time", lambda: 2e9)
    os.utime("story.txt", (1e9, 1e9))
    make(Path("another name.pt"), command[0], "./story.txt", *command[1:])

    assert Path("another name.pt").read_bytes() == before
    assert os.fsencode(tmp_path) not in before


@pytest.mark.parametrize("options", [["--max-length", "7"], ["--max-length", "5", "--stride", "9"], ["--dense"]])
@pytest.mark.parametrize(("backend", "jobs"), [("tiktoken", 1), ("gigatoken", 3)])
def test_bytes_do_not_depend_on_the_effort(
    make: Make, options: list[str], backend: BackendName, jobs: int, story: Path, tmp_path: Path
) -> None:
    """A text read in small blocks, by either backend or several threads, makes the same file as read at once."""
    make(tmp_path / "x.pt", "window", story, *options)
    number = {option: int(value) for option, value in zip(options[::2], options[1::2], strict=False)}
    max_length = number.get("--max-length", 256)
    sink = io.BytesIO()

    write_windows(
        sink,
        open_tokens([str(story)], Reading(effort=Effort(backend, jobs, block_bytes=1000))),
        max_length,
        number.get("--stride", max_length),
        dtype="int64",
        dense="--dense" in options,
    )

    assert sink.getvalue() == (tmp_path / "x.pt").read_bytes()


def test_content_sha256_is_of_the_ids_alone(make: Make, story: Path, ids: list[int], tmp_path: Path) -> None:
    """It is the same for any kind, dtype, stride and form."""
    commands = [*COMMANDS, ["tokenize", "--dtype", "uint16"], ["window", "--max-length", "99", "--dtype", "int32"]]
    hashes = {make(tmp_path / "x.pt", c[0], story, *c[1:])["meta"]["content_sha256"] for c in commands}

    assert hashes == {ids_sha256(ids)}


# --- size -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "itemsize"), [("int64", 8), ("int32", 4), ("uint16", 2)])
def test_overlap_costs_nothing(
    make: Make, dtype: str, itemsize: int, story: Path, ids: list[int], tmp_path: Path
) -> None:
    """At stride 1 the file is as large as the token stream and 8 KiB: inputs and targets share one storage."""
    size = ("--max-length", "256", "--stride", "1", "--dtype", dtype)

    loaded = make(tmp_path / "x.pt", "window", story, *size)

    x, y = loaded["input_ids"], loaded["target_ids"]
    assert x.shape == (len(ids) - 256, 256)
    assert (tmp_path / "x.pt").stat().st_size <= len(ids) * itemsize + 8192
    assert x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()
    assert x.stride() == y.stride() == (1, 1)
    assert y.storage_offset() - x.storage_offset() == 1


def test_gaps_are_not_stored(make: Make, story: Path, ids: list[int], tmp_path: Path) -> None:
    """Where stride > max_length the storage holds rows of max_length + 1 ids and no more."""
    loaded = make(tmp_path / "x.pt", "window", story, "--max-length", "4", "--stride", "40")

    n_rows = len(range(0, len(ids) - 4, 40))
    assert loaded["input_ids"].shape == (n_rows, 4)
    assert loaded["input_ids"].untyped_storage().nbytes() == n_rows * 5 * 8
    assert (tmp_path / "x.pt").stat().st_size <= n_rows * 5 * 8 + 8192


@pytest.mark.parametrize(("max_length", "stride"), [(7, 3), (4, 4), (3, 8), (256, 100)])
def test_dense_equals_views(make: Make, max_length: int, stride: int, story: Path, tmp_path: Path) -> None:
    """``--dense`` writes the same windows as two contiguous tensors that share no memory."""
    size = ("--max-length", str(max_length), "--stride", str(stride))
    views = make(tmp_path / "views.pt", "window", story, *size)

    dense = make(tmp_path / "dense.pt", "window", story, *size, "--dense")

    for key in ("input_ids", "target_ids"):
        assert torch.equal(dense[key], views[key])
        assert dense[key].is_contiguous()
        assert dense[key].untyped_storage().nbytes() == dense[key].numel() * 8
    assert dense["meta"] == views["meta"] | {"options": views["meta"]["options"] | {"dense": True}}


def test_dense_states_its_size_first(story: Path, ids: list[int], tmp_path: Path) -> None:
    """The size of dense tensors is said before a byte of them is written."""
    said: list[str] = []
    sink = io.BytesIO()
    stream = open_tokens([str(story)])

    write_windows(
        sink, stream, 64, 1, dtype="int32", dense=True, announce=lambda s: said.append(f"{len(sink.getvalue())}: {s}")
    )

    n = len(ids) - 64
    assert said == [f"0: --dense: 2 x {n} x 64 int32 are {2 * n * 64 * 4:,} bytes"]


# --- from a tokens or windows file ----------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_tokens_file_stands_for_its_text(make: Make, command: list[str], story: Path, tmp_path: Path) -> None:
    """Every command makes from a tokens file, of whatever dtype, the bytes that it makes from the text."""
    make(tmp_path / "from_text.pt", command[0], story, *command[1:])

    for dtype in ("int64", "int32", "uint16"):
        make(tmp_path / "tokens.pt", "tokenize", story, "--dtype", dtype)
        make(tmp_path / "from_ids.pt", command[0], tmp_path / "tokens.pt", *command[1:])
        assert (tmp_path / "from_ids.pt").read_bytes() == (tmp_path / "from_text.pt").read_bytes()


@pytest.mark.parametrize(("max_length", "stride"), [(7, 3), (4, 4), (256, 1)])
@pytest.mark.parametrize("form", [[], ["--dense"]], ids=["views", "dense"])
def test_a_windows_file_gives_its_stream_back(
    make: Make, max_length: int, stride: int, form: list[str], story: Path, ids: list[int], tmp_path: Path
) -> None:
    """From windows without gaps comes the stream they were cut from, up to the last target."""
    size = ("--max-length", str(max_length), "--stride", str(stride))
    windows = make(tmp_path / "windows.pt", "window", story, *size, *form)

    tokens = make(tmp_path / "tokens.pt", "tokenize", tmp_path / "windows.pt")

    reach = (len(windows["input_ids"]) - 1) * stride + max_length + 1
    assert tokens["token_ids"].tolist() == ids[:reach]
    assert tokens["meta"]["n_tokens"] == reach
    assert tokens["meta"]["content_sha256"] == ids_sha256(ids[:reach])


@pytest.mark.parametrize("command", ["pairs", "tokenize", "window"])
def test_windows_with_gaps_are_no_stream(call: Call, make: Make, command: str, story: Path, tmp_path: Path) -> None:
    """Where a window begins behind the end of the one before, there is no text to continue: refused."""
    make(tmp_path / "x.pt", "window", story, "--max-length", "4", "--stride", "5")

    ended = call(command, "x.pt", "-o", "y.pt")

    assert ended.code == 3
    assert b"leave gaps (stride 5, max_length 4)" in ended.stderr
    assert not (tmp_path / "y.pt").exists()


def test_embed_takes_windows_with_gaps(make: Make, story: Path, text: str, tmp_path: Path) -> None:
    """`embed` needs only the rows, and takes max_length and stride from the file."""
    make(tmp_path / "x.pt", "window", story, "--max-length", "4", "--stride", "9")

    loaded = make(tmp_path / "y.pt", "embed", tmp_path / "x.pt", "--batches", "1")

    expected = next(reference.embeddings(text, max_length=4, stride=9))
    assert torch.equal(loaded["input_embeddings"], expected)
    assert (loaded["meta"]["options"]["max_length"], loaded["meta"]["options"]["stride"]) == (4, 9)


def test_a_file_knows_its_encoding(call: Call, make: Make, story: Path, tmp_path: Path) -> None:
    """Asking for another encoding than a file's own is a usage error; for the same one, by any name, is none."""
    make(tmp_path / "x.pt", "tokenize", story)

    refused = call("window", "x.pt", "--encoding", "cl100k_base", "-o", "y.pt")

    assert refused.code == 2
    assert b"--encoding cl100k_base: x.pt was made with gpt2" in refused.stderr
    assert not (tmp_path / "y.pt").exists()
    assert call("window", "x.pt", "--encoding", "gpt-2", "-o", "y.pt").code == 0


def test_options_for_text_do_not_apply_to_ids(call: Call, make: Make, story: Path, tmp_path: Path) -> None:
    """``--special``, ``--newlines`` and ``--separator`` come too late for a .pt file: a usage error, not silence."""
    make(tmp_path / "x.pt", "tokenize", story)

    for option in (["--special", "text"], ["--newlines", "keep"], ["--separator", "none"]):
        ended = call("window", "x.pt", *option, "-o", "y.pt")
        assert ended.code == 2
        assert b"options for text do not apply" in ended.stderr


def test_windows_know_their_shape(call: Call, make: Make, story: Path, tmp_path: Path) -> None:
    """`embed` refuses a max_length or a stride that is not the windows file's own."""
    make(tmp_path / "x.pt", "window", story, "--max-length", "7", "--stride", "3")

    for option, value in (("max-length", 8), ("stride", 7)):
        ended = call("embed", "x.pt", f"--{option}", str(value))
        assert ended.code == 2
        assert f"{value}: x.pt was made with " in ended.stderr.decode()


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint16])
def test_a_tokens_file_of_another_program(make: Make, dtype: torch.dtype, tmp_path: Path) -> None:
    """A dict of ``token_ids`` that torch saved needs no ``meta``: --encoding says whose its ids are."""
    torch.save({"token_ids": torch.tensor([5, 50256, 7, 8]).to(dtype)}, tmp_path / "x.pt")

    shape = ("--max-length", "2", "--stride", "1")
    loaded = make(tmp_path / "y.pt", "window", tmp_path / "x.pt", *shape, "--encoding", "gpt2")

    assert loaded["input_ids"].tolist() == [[5, 50256], [50256, 7]]
    assert (loaded["meta"]["encoding"], loaded["meta"]["n_tokens"]) == ("gpt2", 4)


def test_a_tokens_file_through_a_pipe(make: Make, story: Path, tmp_path: Path) -> None:
    """A named pipe that a .pt file comes through is read once, and gives what the file gives."""
    make(tmp_path / "x.pt", "tokenize", story)
    make(tmp_path / "from_file.pt", "window", tmp_path / "x.pt")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes((tmp_path / "x.pt").read_bytes()))
    writer.start()

    make(tmp_path / "from_fifo.pt", "window", fifo)
    writer.join(10)

    assert (tmp_path / "from_fifo.pt").read_bytes() == (tmp_path / "from_file.pt").read_bytes()


# --- the split ------------------------------------------------------------------------------------


@pytest.fixture
def split(call: Call) -> Split:
    """Run ``window --val-fraction``, which must go well; return what torch makes of the two files."""

    def made(text: Path, folder: Path, *options: str) -> tuple[dict[str, Any], dict[str, Any]]:
        ended = call("window", text, *options, "-o", folder / "x.pt", "-q")
        assert ended.code == 0, ended.stderr
        train, val = (torch.load(folder / f"x.{part}.windows.pt", weights_only=True) for part in ("train", "val"))
        return train, val

    return made


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("form", [[], ["--dense"]], ids=["views", "dense"])
def test_the_split_shares_no_token(
    split: Split, fraction: float, form: list[str], story: Path, ids: list[int], tmp_path: Path
) -> None:
    """The stream is cut once, then each part is windowed on its own: no token stands on both sides."""
    size = ("--max-length", "7", "--stride", "3")

    train, val = split(story, tmp_path, *size, "--val-fraction", str(fraction), *form)

    cut = len(ids) - math.floor(len(ids) * fraction)
    for part, held in ((train, ids[:cut]), (val, ids[cut:])):
        inputs, targets = reference.window_rows(held, 7, 3)
        assert part["input_ids"].tolist() == inputs
        assert part["target_ids"].tolist() == targets
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.train.windows.pt", "x.val.windows.pt"]


def test_the_parts_say_what_they_are(split: Split, story: Path, ids: list[int], tmp_path: Path) -> None:
    """Each part's ``meta`` holds its own count and hash, the fraction, and the source of both."""
    train, val = split(story, tmp_path, "--val-fraction", "0.1")

    cut = len(ids) - len(ids) // 10
    for part, name, held in ((train, "train", ids[:cut]), (val, "val", ids[cut:])):
        meta = part["meta"]
        assert (meta["n_tokens"], meta["content_sha256"]) == (len(held), ids_sha256(held))
        assert (meta["options"]["part"], meta["options"]["val_fraction"]) == (name, 0.1)
        assert meta["sources"][0]["tokens"] == len(ids)


def test_a_split_is_all_or_nothing(call: Call, story: Path, tmp_path: Path) -> None:
    """A validation part too short for a window is an error that says so, and leaves no file of the two."""
    ended = call("window", story, "--val-fraction", "0.001", "-o", "x.pt")

    assert ended.code == 3
    assert b"(val): 6 tokens give no window of max_length 256" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_split_from_ids_is_that_from_text(split: Split, make: Make, story: Path, tmp_path: Path) -> None:
    """A tokens file is split into the same bytes as its text."""
    make(tmp_path / "tokens.pt", "tokenize", story)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    split(story, tmp_path / "a", "--val-fraction", "0.2")
    split(tmp_path / "tokens.pt", tmp_path / "b", "--val-fraction", "0.2")

    for part in ("train", "val"):
        name = f"x.{part}.windows.pt"
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


# --- dtypes ---------------------------------------------------------------------------------------


def test_uint16_holds_65536_ids() -> None:
    """A vocabulary of 65,536 ids fits uint16, one more does not; the other dtypes hold any."""
    check_dtype("uint16", 65_536)
    check_dtype("int32", 201_088)
    check_dtype("int64", 201_088)
    with pytest.raises(UsageError, match="--dtype uint16: holds ids up to 65535, this vocabulary has 65537"):
        check_dtype("uint16", 65_537)


@pytest.mark.parametrize("command", ["tokenize", "window"])
def test_uint16_is_refused_for_a_large_vocabulary(
    call: Call, command: str, story: Path, vocab_dir: Path, tmp_path: Path
) -> None:
    """cl100k_base has more ids than uint16 holds: a usage error before anything is written."""
    options = ("--encoding", "cl100k_base", "--vocab-dir", vocab_dir, "--dtype", "uint16")

    ended = call(command, story, *options, "-o", "x.pt")

    assert ended.code == 2
    assert b"holds ids up to 65535, this vocabulary has 100277" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_another_encoding(make: Make, story: Path, text: str, vocab_dir: Path, tmp_path: Path) -> None:
    """With ``--encoding`` ids, vocabulary size and hash are that encoding's, and int32 holds them."""
    options = ("--encoding", "gpt-4", "--vocab-dir", str(vocab_dir), "--dtype", "int32")

    loaded = make(tmp_path / "x.pt", "tokenize", story, *options)

    assert loaded["token_ids"].tolist() == reference.encode(text, "cl100k_base")
    assert loaded["meta"]["encoding"] == "cl100k_base"
    assert loaded["meta"]["n_vocab"] == reference.tiktoken_encoding("cl100k_base").n_vocab
    assert loaded["meta"]["vocab_sha256"] == sha256(reference.rank_file("cl100k_base"))


# --- reading back, function by function -----------------------------------------------------------


def saved(path: Path, **values: object) -> PtFile:
    """A file of torch's, read by us."""
    torch.save(values, path)
    return read_pt(path)


def test_the_first_wrong_id_is_named_with_its_place() -> None:
    """`check_ids` names the id, its index and the size of the vocabulary, for streams and for windows."""
    good = np.arange(60).reshape(4, 15)
    check_ids(good, 60, "x.pt")
    check_ids(good[0], 15, "x.pt")
    for wrong, said in ((50300, "id 50300 at [3, 12] >= vocabulary 50257"), (-1, "id -1 at [3, 12] is negative")):
        bad = good.copy()
        bad[3, 12:] = wrong
        with pytest.raises(FileFormatError) as caught:
            check_ids(bad, 50257, "x.pt")
        assert str(caught.value) == f"x.pt: {said}"


def test_an_id_is_found_in_any_block() -> None:
    """A wrong id far into a long stream is found at its place in the whole."""
    ids = np.zeros(1_000_000, np.uint16)
    ids[987_654] = 60_000

    with pytest.raises(FileFormatError, match=r"id 60000 at \[987654\] >= vocabulary 50257"):
        check_ids(ids, 50257, "x.pt")


def test_ids_outside_every_window_do_not_matter(tmp_path: Path) -> None:
    """A storage may hold what no window shows; an id that one shows is named by row and column."""
    stream = torch.arange(20)
    stream[19] = 60_000
    windows = stream.unfold(0, 5, 2)[:7]
    assert 60_000 not in windows
    check_window_ids(saved(tmp_path / "x.pt", input_ids=windows[:, :4], target_ids=windows[:, 1:]), 50257)

    stream[8] = 60_000

    file = saved(tmp_path / "x.pt", input_ids=windows[:, :4], target_ids=windows[:, 1:])
    with pytest.raises(FileFormatError, match=r"id 60000 at \[3, 2\] >= vocabulary 50257"):
        check_window_ids(file, 50257)


def test_tokens_must_be_one_row_of_whole_numbers(tmp_path: Path) -> None:
    """Other keys, ranks and dtypes are errors that say what was found and what is needed."""
    path = tmp_path / "x.pt"
    row = torch.arange(6)

    assert file_tokens(saved(path, token_ids=row)).tolist() == row.tolist()
    for values, said in (
        ({"other": row}, "holds other; a tokens file has token_ids"),
        ({"note": "text"}, "holds no tensor"),
        ({"token_ids": [1, 2]}, "holds no tensor"),
        ({"token_ids": row.view(2, 3)}, r"shape \(2, 3\) and dtype int64; need \(n,\) integers"),
        ({"token_ids": row.float()}, r"shape \(6,\) and dtype float32; need \(n,\) integers"),
        ({"token_ids": row.bool()}, "dtype bool"),
        ({"token_ids": row.bfloat16()}, "dtype bfloat16"),
    ):
        with pytest.raises(FileFormatError, match=said):
            file_tokens(saved(path, **values))
    with pytest.raises(EmptyError, match="empty: 0 tokens"):
        file_tokens(saved(path, token_ids=row[:0]))


def test_windows_must_be_two_tables_of_whole_numbers(tmp_path: Path) -> None:
    """Missing keys, other ranks and dtypes, and unlike shapes are errors that say what was found."""
    path = tmp_path / "x.pt"
    x = torch.arange(6).view(2, 3)

    inputs, targets = file_windows(saved(path, input_ids=x, target_ids=x + 1))
    assert (inputs.tolist(), targets.tolist()) == (x.tolist(), (x + 1).tolist())
    for values, said in (
        ({"input_ids": x}, "target_ids: missing"),
        ({"target_ids": x}, "input_ids: missing"),
        ({"input_ids": x, "target_ids": x.view(6)}, r"target_ids: shape \(6,\), dtype int64"),
        ({"input_ids": x.double(), "target_ids": x}, r"input_ids: shape \(2, 3\), dtype float64"),
        ({"input_ids": x, "target_ids": x[:1]}, r"input_ids \(2, 3\) and target_ids \(1, 3\) differ in shape"),
    ):
        with pytest.raises(FileFormatError, match=said):
            file_windows(saved(path, **values))


def test_windows_of_a_text_are_views(story: Path, ids: list[int]) -> None:
    """`open_windows` cuts windows from a text without copying them, and knows the whole stream's figures."""
    source = open_windows([str(story)], 256, 1)

    assert source.rows.shape == (len(ids) - 256, 256)
    assert source.rows.strides[0] == source.rows.strides[1]
    assert source.stream.n_tokens == len(ids)


def test_meta_is_plain_data(story: Path) -> None:
    """`make_meta` holds nothing that JSON could not hold, so it can be shown and compared anywhere."""
    stream = open_tokens([str(story)])
    write_tokens(io.BytesIO(), stream, dtype="int64")

    meta = make_meta("tokens", stream, dtype="int64")

    assert json.loads(json.dumps(meta)) == meta
