"""Promises of the command line: exact results, where they go, one line for an error, and an instant start."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from support.commands import ROOT, SAMPLES, Call, Ended, Run, clean_environment
from support.reference import encode, pair_rows, tiktoken_encoding, window_rows

from llmprep import __version__
from llmprep.cli.commands import app

HEAVY = ("torch", "numpy", "tiktoken", "rich")
SGR = r"\x1b\[[0-9;]*m"
COMMANDS = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
STAGES = ["tokenize", "pairs", "window", "embed"]

FIGURES = {"command", "n_tokens", "n_special", "encoding", "sources", "content_sha256", "output"}
TOKENIZE_KEYS = {*FIGURES, "output_bytes", "n_distinct", "n_chars", "chars_per_token", "first_ids"}
WINDOW_KEYS = {*FIGURES, "output_bytes", "max_length", "stride", "n_windows", "coverage", "windows"}
EMBED_KEYS = {*FIGURES, "shape", "first_batch", "token_table", "position_table", "token_table_begins"}
PAIRS_KEYS = {"command", "encoding", "output", "pairs"}


def load(path: Path) -> dict[str, Any]:
    """What torch reads from a file."""
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def text_of(ids: Sequence[int]) -> str:
    """Ids as text, as tiktoken decodes them; good for ASCII."""
    return tiktoken_encoding("gpt2").decode(list(ids))


def expected_pairs(ids: Sequence[int], context_size: int) -> list[str]:
    """The reference's two forms of the pairs of a window."""
    listed = list(pair_rows(ids, context_size))
    return [
        *(f"{context} ----> {target}" for context, target in listed),
        *(f"{text_of(context)} ----> {text_of([target])}" for context, target in listed),
    ]


# --- help -----------------------------------------------------------------------------------------


def test_the_commands_are_these() -> None:
    """Four commands take texts and write files; what this file checks of them, it checks of all four."""
    assert [*STAGES, "inspect", "merge"] == COMMANDS


def test_help_lists_every_command(call: Call) -> None:
    """``llmprep --help`` names each command and says what it does."""
    ended = call("--help")

    assert ended.code == 0
    assert ended.notes == []
    for command in COMMANDS:
        assert any(re.match(rf"  {command} +[A-Z].{{20,}}", line) for line in ended.lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help(call: Call, command: str) -> None:
    """``llmprep COMMAND --help`` says what the command is for, and has a line and words for each option."""
    parameters = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]

    ended = call(command, "--help")

    assert ended.code == 0
    assert ended.lines[0].startswith(f"Usage: llmprep {command} [OPTIONS]")
    assert all(parameter.help for parameter in parameters)
    for option in (name for p in parameters for name in p.opts if name.startswith("--")):
        assert any(re.match(rf"  (-\w, )?{option}\b", line) for line in ended.lines), option


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    """README shows how to call each command."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert f"llmprep {command}" in readme


def test_no_command_shows_the_help(call: Call) -> None:
    """``llmprep`` alone shows its help and ends as a wrong call does."""
    ended = call()

    assert (ended.code, ended.stdout) == (2, call("--help").stdout)


def test_version_is_the_package_version(call: Call) -> None:
    """``--version`` prints the name and the version, nothing else."""
    ended = call("--version")

    assert (ended.code, ended.lines, ended.notes) == (0, [f"llmprep {__version__}"], [])


# --- exact results --------------------------------------------------------------------------------


def test_the_courses_pairs(call: Call, verdict: Path) -> None:
    """``pairs --start 50`` on the course's story prints the course's eight lines and nothing else."""
    ended = call("pairs", verdict, "--start", "50")

    assert (ended.code, ended.notes) == (0, [])
    assert ended.lines == [
        "[290] ----> 4920",
        "[290, 4920] ----> 2241",
        "[290, 4920, 2241] ----> 287",
        "[290, 4920, 2241, 287] ----> 257",
        " and ---->  established",
        " and established ---->  himself",
        " and established himself ---->  in",
        " and established himself in ---->  a",
    ]


@pytest.mark.parametrize("encoding", ["gpt2", "r50k_base", "p50k_base"])
def test_the_courses_tokens(call: Call, verdict: Path, encoding: str) -> None:
    """The course's story has 5,145 tokens, also in the encodings that share its vocabulary."""
    ended = call("tokenize", verdict, "--encoding", encoding, "-o", "ids.pt")

    assert ended.code == 0
    assert ended.lines[0].startswith("5,145 tokens ")
    assert load(Path("ids.pt"))["token_ids"][:8].tolist() == [40, 367, 2885, 1464, 1807, 3619, 402, 271]


@pytest.mark.parametrize(
    ("max_length", "stride", "count"), [(4, 4, "1,286"), (4, 1, "5,141"), (256, 128, "39"), (256, 256, "20")]
)
def test_the_courses_windows(call: Call, verdict: Path, max_length: int, stride: int, count: str) -> None:
    """The course's story gives the course's numbers of windows."""
    ended = call("window", verdict, "--max-length", str(max_length), "--stride", str(stride))

    assert ended.lines[0] == f"5,145 tokens -> {count} windows of {max_length}, stride {stride}"


@pytest.mark.parametrize(("start", "context_size"), [(0, 4), (61, 4), (6250, 8), (100, 1)])
def test_pairs_of_the_sample_story(call: Call, story: Path, start: int, context_size: int) -> None:
    """``pairs`` prints exactly the pairs that slicing tiktoken's ids gives, ids first, then text."""
    ids = encode(story.read_text(encoding="utf-8"))
    window = ids[start : start + context_size + 1]

    ended = call("pairs", story, "--start", str(start), "--context-size", str(context_size))

    assert (ended.code, ended.notes) == (0, [])
    assert [line.replace(r"\n", "\n") for line in ended.lines] == expected_pairs(window, context_size)


def test_pairs_of_several_windows(call: Call, story: Path) -> None:
    """``--windows N`` grows N neighbouring windows; the file holds the same pairs, padded with the end-of-text id."""
    ids = encode(story.read_text(encoding="utf-8"))[10:19]
    rows = [*pair_rows(ids[:5], 4), *pair_rows(ids[4:], 4)]

    ended = call("pairs", story, "--start", "10", "--windows", "2", "-o", "p.pt")

    made = load(Path("p.pt"))
    assert ended.lines[:8] == [f"{context} ----> {target}" for context, target in rows]
    assert made["targets"].tolist() == [target for _, target in rows]
    assert made["lengths"].tolist() == [len(context) for context, _ in rows]
    assert made["contexts"].tolist() == [context + [50256] * (4 - len(context)) for context, _ in rows]


def test_tokens_of_the_sample_story(call: Call, story: Path) -> None:
    """``tokenize`` tells tokens, distinct ids, characters and bytes, shows the first ids and texts, names the file."""
    text = story.read_text(encoding="utf-8")
    ids = encode(text)

    ended = call("tokenize", story)

    per_token = f"{len(text) / len(ids):.2f}"
    assert ended.lines[0] == (
        f"{len(ids):,} tokens (gpt2), {len(set(ids)):,} distinct, {len(text):,} characters ({per_token} per token), "
        f"{story.stat().st_size:,} bytes"
    )
    assert " ".join(map(str, ids[:16])) in ended.lines
    assert "|".join(text_of([i]).replace("\n", r"\n") for i in ids[:16]) in ended.lines
    assert ended.lines[-1].startswith(f"story.tokens.pt: token_ids [{len(ids)}], ")
    assert load(Path("story.tokens.pt"))["token_ids"].tolist() == ids


def test_windows_of_the_sample_story(call: Call, story: Path) -> None:
    """``window`` writes the textbook loop's windows, accounts for each token, and shows the first two windows."""
    ids = encode(story.read_text(encoding="utf-8"))
    inputs, targets = window_rows(ids, 6, 4)
    used = (len(inputs) - 1) * 4 + 7

    ended = call("window", story, "--max-length", "6", "--stride", "4")

    made = load(Path("story.windows.pt"))
    assert made["input_ids"].tolist() == inputs
    assert made["target_ids"].tolist() == targets
    assert ended.lines[0] == f"{len(ids):,} tokens -> {len(inputs):,} windows of 6, stride 4"
    assert f"{used:,} + 0 + {len(ids) - used} = {len(ids):,}; neighbours share 2 tokens" in ended.lines[2]
    shown = [line.replace(r"\n", "\n") for line in ended.lines if "---->" in line]
    assert shown == [*expected_pairs(ids[:7], 6), *expected_pairs(ids[4:11], 6)]
    assert ended.lines[-1].startswith(f"story.windows.pt: input_ids and target_ids [{len(inputs)}, 6], ")


def test_explain_draws_only_when_asked(call: Call, story: Path) -> None:
    """``--explain`` adds the rule and the drawing, and takes nothing away."""
    plain = call("window", story, "--max-length", "4")
    explained = call("window", story, "--max-length", "4", "--explain")

    assert not any(line.startswith("window 3") for line in plain.lines)
    assert "window 3             ####>" in explained.lines
    assert set(plain.lines) < set(explained.lines)


@pytest.mark.parametrize("windows", ["0", "1", "3", "1000000000000000000000"])
def test_preview_shows_as_many_windows_as_asked(call: Call, windows: str) -> None:
    """``--preview N`` shows the first N windows, or all if there are fewer, at once."""
    Path("a.txt").write_text("one two three four five six seven eight nine")

    ended = call("window", "a.txt", "--max-length", "2", "--preview", windows)

    ids = [line for line in ended.lines if line.startswith("[")]
    assert len(ids) == 2 * min(int(windows), 4)


def test_embeddings_of_the_sample_story(call: Call, story: Path) -> None:
    """``embed`` tells each shape on the way, and writes (windows, tokens, numbers)."""
    n_windows = len(window_rows(encode(story.read_text(encoding="utf-8")), 4, 4)[0])

    ended = call("embed", story, "--max-length", "4")

    assert ended.code == 0
    assert ended.lines[:2] == [
        "[8, 4] -> token [8, 4, 256] + position [4, 256] -> [8, 4, 256]",
        "token table [50257, 256], positional table [1024, 256]",
    ]
    assert load(Path("story.embeddings.pt"))["input_embeddings"].shape == (n_windows, 4, 256)


# --- where results go -----------------------------------------------------------------------------


def test_default_names_are_in_the_current_folder(call: Call, tmp_path: Path) -> None:
    """Without -o a file is named after its input and its kind, and lies in the current folder, not beside the input."""
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "tale.of.two.txt").write_text("It was the best of times, it was the worst of times.")

    call("tokenize", "far/tale.of.two.txt")
    call("window", "tale.of.two.tokens.pt", "--max-length", "4")
    call("embed", "tale.of.two.windows.pt", "--dim", "8")
    call("pairs", "far/tale.of.two.txt")

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["far", "tale.of.two.embeddings.pt", "tale.of.two.tokens.pt", "tale.of.two.windows.pt"]
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["tale.of.two.txt"]


@pytest.mark.parametrize("command", ["tokenize", "window", "embed"])
def test_several_inputs_and_standard_input_need_a_name(call: Call, command: str) -> None:
    """Several inputs go into one file, and standard input has no name: both want -o."""
    Path("a.txt").write_text("a")

    several, standard = call(command, "a.txt", "a.txt"), call(command, "-")

    assert (several.code, standard.code) == (2, 2)
    assert several.notes == ["llmprep: error: 2 inputs go into one file; name the output with -o"]
    assert standard.notes == ["llmprep: error: standard input has no name; name the output with -o"]


def test_val_fraction_names_two_files(call: Call, story: Path, tmp_path: Path) -> None:
    """``--val-fraction`` cuts the stream once; the training and validation files are named after -o or the input."""
    ids = encode(story.read_text(encoding="utf-8"))
    cut = len(ids) - len(ids) // 10

    call("window", story, "--max-length", "8", "--val-fraction", "0.1")
    call("window", story, "--max-length", "8", "--val-fraction", "0.1", "-o", "sets.windows.pt")
    call("window", story, "--max-length", "8", "--val-fraction", "0.1", "-o", "other.pt")

    stems = ("story", "sets", "other")
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{stem}.{part}.windows.pt" for stem in stems for part in ("train", "val")
    }
    for stem in stems:
        assert load(Path(f"{stem}.train.windows.pt"))["input_ids"].tolist() == window_rows(ids[:cut], 8, 8)[0]
        assert load(Path(f"{stem}.val.windows.pt"))["input_ids"].tolist() == window_rows(ids[cut:], 8, 8)[0]


@pytest.mark.parametrize(
    ("command", "more"),
    [("tokenize", []), ("window", ["--max-length", "4"]), ("embed", ["--max-length", "4"]), ("pairs", [])],
)
def test_a_file_on_standard_output_is_the_file(call: Call, story: Path, command: str, more: list[str]) -> None:
    """``-o -`` writes the same bytes to standard output, and what is said of them to standard error."""
    filed = call(command, story, *more, "-o", "there.pt")
    piped = call(command, story, *more, "-o", "-")

    assert (filed.code, piped.code) == (0, 0)
    assert piped.stdout == Path("there.pt").read_bytes()
    said = [line.replace("there.pt: ", "-: ") for line in filed.lines]
    assert [line for line in piped.notes if not line.startswith("llmprep: note: ")] == said


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a bash line in which ``llmprep`` is the command; every part of a pipeline must succeed."""
    defined = f'set -o pipefail; llmprep() {{ {shlex.quote(sys.executable)} -m llmprep "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", defined + line], cwd=cwd, env=clean_environment(), capture_output=True, timeout=60, check=False
    )


def test_tokens_through_a_pipe_are_windowed_the_same(call: Call, story: Path, tmp_path: Path) -> None:
    """``tokenize -o - | window -`` writes byte for byte what ``window`` writes from the text."""
    call("window", story, "--max-length", "16", "--stride", "8", "-o", "direct.pt")

    ended = shell(f"llmprep tokenize {story} -o - | llmprep window - --max-length 16 --stride 8 -o piped.pt", tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert Path("piped.pt").read_bytes() == Path("direct.pt").read_bytes()


@pytest.mark.slow
def test_text_through_two_pipes_is_embedded_the_same(call: Call, story: Path, tmp_path: Path) -> None:
    """``window - -o - | embed -`` embeds what ``embed`` embeds from the text."""
    call("embed", story, "--max-length", "8", "--dim", "16", "-o", "direct.pt")

    ended = shell(f"llmprep window - -o - --max-length 8 < {story} | llmprep embed - --dim 16 -o piped.pt", tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert torch.equal(load(Path("piped.pt"))["input_embeddings"], load(Path("direct.pt"))["input_embeddings"])


@pytest.mark.parametrize("command", STAGES)
def test_notes_go_to_standard_error_only(call: Call, command: str) -> None:
    """A byte order mark, a forged boundary and an empty input are told on standard error, with no result among them."""
    Path("marked.txt").write_bytes(b"\xef\xbb\xbf" + b"one two<|endoftext|>three four five six " * 9)
    Path("empty.txt").write_bytes(b"")
    options = {"window": ["--max-length", "4"], "embed": ["--max-length", "4"]}.get(command, [])

    ended = call(command, "empty.txt", "marked.txt", "-o", "o.pt", *options)

    assert ended.code == 0
    notes = [line for line in ended.notes if "windows x" not in line]
    assert notes[:2] == [
        "llmprep: note: 1 empty input skipped: empty.txt",
        "llmprep: note: marked.txt: byte order mark dropped",
    ]
    assert notes[2].startswith("llmprep: note: <|endoftext|> stands 9 times in the text itself")
    assert all(line.startswith("llmprep: note: ") for line in ended.notes)
    assert not any("note" in line or "mark" in line for line in ended.lines)


@pytest.mark.parametrize("command", STAGES)
def test_quiet_prints_nothing(call: Call, command: str) -> None:
    """``-q`` prints nothing at all, not even a note, also with --json, and writes the same file."""
    Path("a.txt").write_bytes(b"\xef\xbb\xbf" + b"one two<|endoftext|>three four " * 9)
    options = {"window": ["--max-length", "4"], "embed": ["--max-length", "4"]}.get(command, [])

    call(command, "a.txt", "-o", "loud.pt", *options)
    quiet = call(command, "a.txt", "-o", "quiet.pt", *options, "-q")
    quiet_json = call(command, "a.txt", "-o", "json.pt", *options, "--quiet", "--json")

    assert quiet == quiet_json == Ended(0, b"", b"")
    assert Path("quiet.pt").read_bytes() == Path("loud.pt").read_bytes() == Path("json.pt").read_bytes()


@pytest.mark.parametrize("command", COMMANDS)
def test_quiet_still_prints_errors(call: Call, command: str) -> None:
    """``-q`` silences results and notes, not an error."""
    ended = call(command, "missing.txt", "-q")

    assert (ended.code, ended.stdout) == (1, b"")
    assert ended.notes == ["llmprep: error: missing.txt: no such file or directory"]


@pytest.mark.parametrize("command", ["tokenize", "pairs", "window"])
@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1", "w.pt"])
def test_standard_output_by_another_name(llmprep: Run, story: Path, tmp_path: Path, name: str, command: str) -> None:
    """What is the same file as standard output behaves as ``-``: it gets the file alone, and the words go elsewhere."""
    with (tmp_path / "w.pt").open("wb") as stdout:
        result = subprocess.run(
            [sys.executable, "-m", "llmprep", command, story, "-o", name],
            stdout=stdout, stderr=subprocess.PIPE, cwd=tmp_path, env=clean_environment(), check=False,
        )  # fmt: skip

    assert result.returncode == 0
    assert len(result.stderr.splitlines()) > 3
    made = (tmp_path / "w.pt").read_bytes()
    assert llmprep(command, story, "-o", "-").stdout == made


def test_the_null_device_takes_file_and_words(story: Path, tmp_path: Path) -> None:
    """``-o /dev/null > /dev/null`` is silent: both are thrown away."""
    with Path(os.devnull).open("wb") as stdout:
        result = subprocess.run(
            [sys.executable, "-m", "llmprep", "tokenize", story, "-o", os.devnull],
            stdout=stdout, stderr=subprocess.PIPE, cwd=tmp_path, env=clean_environment(), check=False,
        )  # fmt: skip

    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize(
    "line",
    [
        "pairs a.txt -o new/",
        "window a.txt -o new/",
        "window a.txt -o new/ --val-fraction 0.5",
        "embed a.txt -o new/",
        "embed a.txt --save-weights new/",
    ],
)
def test_a_folder_is_no_file_to_write(call: Call, tmp_path: Path, line: str) -> None:
    """A command that writes a file refuses a name with a slash at its end, which means a folder."""
    (tmp_path / "a.txt").write_text("one two three four five")

    ended = call(*line.split())

    assert (ended.code, ended.stdout) == (2, b"")
    assert ended.notes == ["llmprep: error: new/: is the name of a folder, and this writes a file; name a file in it"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def write_at(path: Path, text: str, time: int) -> Path:
    """Write a text that was last changed at a time, in seconds before or after now."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    now = path.stat().st_mtime
    os.utime(path, (now + time, now + time))
    return path


@pytest.mark.parametrize("command", ["tokenize", "window --max-length 2", "window --max-length 2 --val-fraction 0.5"])
@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("A1/wiki_00", "A2/wiki_00"), "another wiki_00, not from A2/wiki_00"),
        (("a.txt", "a.md"), "a.txt, not from a.md"),
        (("A1/corpus", "A2/corpus"), "another text, not from A2/corpus"),
        (("a", "a.txt"), "text, not from a.txt"),
    ],
)
def test_a_default_name_keeps_what_was_made_from_others(
    call: Call, tmp_path: Path, names: tuple[str, str], told: str, command: str
) -> None:
    """Two inputs that give one name do not replace each other's file, unless -o or --force says so."""
    for name, text in zip(names, ("one two three four five six", "six five four three two one"), strict=True):
        folder = name if name.endswith(("corpus", "a")) else ""
        Path(name).parent.mkdir(exist_ok=True)
        write_at(tmp_path / name / "text" if folder else tmp_path / name, text, -10)
        if folder:
            os.utime(folder, (0, 0))
    assert call(*command.split(), names[0]).code == 0
    made = {path: path.read_bytes() for path in tmp_path.glob("*.pt")}

    ended = call(*command.split(), names[1])

    assert (ended.code, ended.stdout) == (6, b"")
    (line,) = ended.notes
    assert line.endswith(f".pt: was made from {told}; name the output with -o, or --force")
    assert {path: path.read_bytes() for path in tmp_path.glob("*.pt")} == made
    assert call(*command.split(), names[1], "-o", min(made).name.replace(".train", "")).code == 0
    assert {path: path.read_bytes() for path in tmp_path.glob("*.pt")}.keys() == made.keys()
    assert call(*command.split(), names[0], "--force").code == 0
    assert {path: path.read_bytes() for path in tmp_path.glob("*.pt")} == made


def test_a_default_name_is_used_again(call: Call, tmp_path: Path) -> None:
    """Run again, on the same text, on a copy of it, and when it was edited, a command replaces its own file."""
    write_at(tmp_path / "a.txt", "one two three", -10)
    write_at(tmp_path / "copy" / "a.txt", "one two three", -10)
    runs = [call("tokenize", "a.txt").code, call("tokenize", "a.txt").code, call("tokenize", "copy/a.txt").code]
    write_at(tmp_path / "a.txt", "four five", 10)
    runs += [call("tokenize", "a.txt").code, call("window", "a.tokens.pt", "--max-length", "1").code]
    runs += [call("window", name, "--max-length", "1").code for name in ("a.txt", "a.tokens.pt")]

    assert runs == [0] * 7
    assert load(tmp_path / "a.tokens.pt")["token_ids"].tolist() == encode("four five")


def test_a_default_name_after_a_folder_that_has_changed(call: Call, tmp_path: Path) -> None:
    """A folder that has got or lost a file since is the same folder, edited."""
    write_at(tmp_path / "corpus" / "a.txt", "one two three", -10)
    write_at(tmp_path / "corpus" / "b.txt", "four", -10)
    runs = [call("tokenize", "corpus").code]
    (tmp_path / "corpus" / "b.txt").unlink()
    runs.append(call("tokenize", "corpus").code)

    assert runs == [0, 0]
    assert load(tmp_path / "corpus.tokens.pt")["token_ids"].tolist() == encode("one two three")


def test_a_default_name_keeps_the_file_of_another_program(call: Call, tmp_path: Path) -> None:
    """A .pt file that does not tell what it was made from is kept; a damaged one is not worth it."""
    (tmp_path / "a.txt").write_text("one")
    torch.save({"x": torch.ones(2)}, tmp_path / "a.tokens.pt")

    ended = call("tokenize", "a.txt")

    assert ended.code == 6
    assert "was made from what it does not tell, not from a.txt" in ended.notes[0]
    (tmp_path / "a.tokens.pt").write_bytes((tmp_path / "a.tokens.pt").read_bytes()[:-30])
    assert call("tokenize", "a.txt").code == 0


@pytest.mark.parametrize("mode", [[], ["--json"]], ids=["words", "json"])
def test_nothing_is_said_of_files_that_are_not_there(call: Call, story: Path, tmp_path: Path, mode: list[str]) -> None:
    """Of a split whose second part has no window neither file appears, and none is said to."""
    ended = call("window", story, "--max-length", "256", "--val-fraction", "0.01", *mode)

    assert (ended.code, ended.stdout) == (3, b"")
    assert len(ended.notes) == 1
    assert list(tmp_path.iterdir()) == []


# --- json -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["tokenize"], TOKENIZE_KEYS),
        (["tokenize", "--count"], {"command", "counts", "n_tokens"}),
        (["tokenize", "--ids"], {"command", "ids"}),
        (["pairs"], PAIRS_KEYS),
        (["pairs", "-o", "p.pt"], PAIRS_KEYS),
        (["window", "--explain"], WINDOW_KEYS),
        (["window", "--val-fraction", "0.2"], {"command", "train", "val"}),
        (["embed", "--batches", "1"], EMBED_KEYS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "keys",
)
def test_json_is_one_object_with_stable_keys(call: Call, story: Path, arguments: list[str], keys: set[str]) -> None:
    """``--json`` prints one object on one line, with exactly these keys, and says which command it is from."""
    ended = call(*arguments, "--json", story)

    assert ended.code == 0
    assert set(ended.value) == keys
    assert ended.value["command"] == arguments[0]


def test_json_of_each_part_of_a_split_has_the_keys_of_one(call: Call, story: Path) -> None:
    """The two parts of a split are described by the same keys as an undivided file."""
    value = call("window", story, "--val-fraction", "0.2", "--json").value

    assert [set(value[part]) for part in ("train", "val")] == [WINDOW_KEYS, WINDOW_KEYS]
    assert [value[part]["output"] for part in ("train", "val")] == ["story.train.windows.pt", "story.val.windows.pt"]


def test_json_figures_are_those_of_the_file(call: Call, story: Path) -> None:
    """What the JSON object states is what the file holds and tiktoken gives."""
    ids = encode(story.read_text(encoding="utf-8"))
    inputs, targets = window_rows(ids, 4, 2)

    value = call("window", story, "--max-length", "4", "--stride", "2", "--json").value

    meta = load(Path("story.windows.pt"))["meta"]
    assert value["n_tokens"] == value["coverage"]["n_tokens"] == len(ids)
    assert value["n_windows"] == value["coverage"]["n_windows"] == len(inputs)
    assert value["windows"] == [{"input_ids": inputs[k], "target_ids": targets[k]} for k in (0, 1)]
    assert value["output_bytes"] == Path("story.windows.pt").stat().st_size
    assert {key: value[key] for key in ("content_sha256", "sources", "encoding")} == {
        key: meta[key] for key in ("content_sha256", "sources", "encoding")
    }


def test_json_of_ids_counts_and_pairs(call: Call, story: Path) -> None:
    """The ids, counts and pairs in the object are tiktoken's."""
    ids = encode(story.read_text(encoding="utf-8"))

    listed = call("tokenize", "--ids", "--json", story).value
    counted = call("tokenize", "--count", "--json", story, story).value
    paired = call("pairs", "--json", "--context-size", "2", story).value

    assert listed["ids"] == [{"name": str(story), "token_ids": ids}]
    assert counted["counts"] == [{"name": str(story), "tokens": len(ids)}] * 2
    assert counted["n_tokens"] == 2 * len(ids)
    assert paired["pairs"] == [
        {"context": context, "target": target, "context_text": text_of(context), "target_text": text_of([target])}
        for context, target in pair_rows(ids[:3], 2)
    ]


def test_json_is_ascii(call: Call) -> None:
    """Nothing in the object acts on a terminal, whatever the text: it is ASCII without control characters."""
    Path("a.txt").write_text("\x1b[2J \u202e caf\u00e9 \x9b \u4e2d one two three")

    ended = call("pairs", "--context-size", "8", "--json", "a.txt")

    assert re.fullmatch(rb"[ -~]+\n", ended.stdout)


@pytest.mark.parametrize("options", [[], ["--val-fraction", "0.5"]], ids=["whole", "split"])
@pytest.mark.parametrize(("preview", "length", "stride"), [(1, 256, 256), (3, 256, 5), (2, 20, 300), (0, 256, 256)])
def test_the_windows_asked_for_are_in_the_json(
    call: Call, story: Path, preview: int, length: int, stride: int, options: list[str]
) -> None:
    """``--json --preview N`` holds the file's first N windows, whole, of any length; of each part of a split."""
    sizes = ["--max-length", str(length), "--stride", str(stride), "-o", "w.pt"]

    value = call("window", story, "--json", "--preview", str(preview), *sizes, *options).value

    for part, name in (("train", "w.train.windows.pt"), ("val", "w.val.windows.pt")) if options else (("", "w.pt"),):
        made = load(Path(name))
        shown = (value[part] if part else value)["windows"]
        assert [window["input_ids"] for window in shown] == made["input_ids"][:preview].tolist()
        assert [window["target_ids"] for window in shown] == made["target_ids"][:preview].tolist()


@pytest.mark.parametrize(("mode", "shown"), [(["--json"], 1), ([], 2)], ids=["json", "words"])
def test_a_preview_says_its_limit(call: Call, story: Path, tmp_path: Path, mode: list[str], shown: int) -> None:
    """Where fewer windows are shown than are asked for and there are, that is said."""
    (tmp_path / "long.txt").write_text(story.read_text() * 24)

    ended = call(
        "window", "long.txt", "--max-length", "60000", "--stride", "40000", "--preview", "3", "-o", "w.pt", *mode
    )
    few = call("window", story, "--max-length", "4000", "--preview", "3", "-o", "w.pt", *mode)

    assert ended.notes == [f"llmprep: note: --preview 3: {shown} shown; a preview reads the first 65,536 tokens"]
    assert (few.code, few.notes) == (0, [])


# --- counts and ids -------------------------------------------------------------------------------


def test_counts_are_like_wc(call: Call) -> None:
    """``--count`` prints a right-aligned count and the name per input, and a total if there are several."""
    samples = [SAMPLES / name for name in ("documents.txt", "story.txt", "tides.py")]
    counts = [len(encode(path.read_text(encoding="utf-8"))) for path in samples]

    one, several = call("tokenize", "--count", samples[1]), call("tokenize", "--count", *samples)

    assert one.lines == [f"{counts[1]} {samples[1]}"]
    assert several.lines == [
        *(f"{count:>{len(str(sum(counts)))}} {path}" for count, path in zip(counts, samples, strict=True)),
        f"{sum(counts)} total",
    ]


def test_counts_can_be_sorted(story: Path, tmp_path: Path) -> None:
    """``--count | sort -n`` sorts by tokens: every line begins with a plain number, also for an empty input."""
    for k in (3, 1, 2):
        (tmp_path / f"{k}.txt").write_text("word " * 10**k)
    (tmp_path / "0.txt").write_text("")

    ended = shell(f"llmprep tokenize --count 3.txt 1.txt 0.txt 2.txt {story} | sort -n", tmp_path)

    names = [line.split() for line in ended.stdout.decode().splitlines()]
    assert [name for _, name in names] == ["0.txt", "1.txt", "2.txt", "3.txt", str(story), "total"]
    assert int(names[-1][0]) == sum(int(count) for count, _ in names[:-1])
    assert ended.stderr == b""


def test_ids_are_a_line_per_input(call: Call, tmp_path: Path) -> None:
    """``--ids`` prints each input's ids on one line, separated by spaces, and writes nothing."""
    texts = ["I HAD always thought", "a\nb", "x" * 50]
    for number, text in enumerate(texts):
        Path(f"{number}.txt").write_text(text)

    ended = call("tokenize", "--ids", "0.txt", "1.txt", "2.txt")

    assert ended.lines == [" ".join(map(str, encode(text))) for text in texts]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.txt", "1.txt", "2.txt"]


WORDS = b"one two three " * 100_000
"""More text than one block holds."""

UNUSABLE: dict[str, tuple[str, bytes, str]] = {
    "Latin-1": ("a.txt", b"caf\xe9 au lait", "not valid UTF-8 at byte 3 (0xe9)"),
    "Latin-1 at the end": ("a.txt", WORDS + b"caf\xe9", f"not valid UTF-8 at byte {len(WORDS) + 3} (0xe9)"),
    "a cut character at the end": ("a.txt", WORDS + b"caf\xc3", f"not valid UTF-8 at byte {len(WORDS) + 3} (0xc3)"),
    "PDF": ("a.txt", b"%PDF-1.7\n1 0 obj\nstream", "looks like a PDF document"),
    "a special token": ("a.txt", b"one <|endoftext|> two", "special token <|endoftext|> in the text at byte 4"),
    "a special token at the end": ("a.txt", WORDS + b"<|endoftext|>", f"in the text at byte {len(WORDS)}"),
    "no JSON": ("a.jsonl", b'{"text": "one"}\n{"text": ', "line 2: not valid JSON"),
    "no text": ("a.jsonl", b'{"text": "one"}\n{"text": 7}', "line 2: field text is a int, not a string"),
    "no field": ("a.jsonl", b'{"body": "one"}', "line 1: has no field text"),
    "cut gzip data": ("a.gz", gzip.compress(WORDS)[:-9], "the gzip data is cut short"),
    "damaged gzip data": ("a.gz", gzip.compress(b"words")[:-9] + b"\xff" * 9, "the gzip data is damaged"),
    "no Parquet": ("a.parquet", b"PAR1 no Parquet PAR1", "damaged near row 1"),
}


@pytest.mark.parametrize("backend", [["--backend", "tiktoken", "--jobs", "1"], ["--jobs", "2"]])
@pytest.mark.parametrize("printed", ["--count", "--ids"])
@pytest.mark.parametrize("what", UNUSABLE)
def test_what_cannot_be_read_is_not_counted(
    what: str, printed: str, backend: list[str], tmp_path: Path, call: Call
) -> None:
    """Whatever keeps a text from being read to its end ends the run, alone or among others; no count is printed."""
    name, data, reason = UNUSABLE[what]
    (tmp_path / name).write_bytes(data)
    (tmp_path / "good.txt").write_bytes(b"some words")
    (tmp_path / "empty.txt").touch()

    for inputs in ([name], ["good.txt", name], ["empty.txt", name]):
        if printed == "--ids" and "empty.txt" in inputs:
            continue
        ended = call("tokenize", printed, "--special", "error", *backend, *inputs)

        assert ended.code == 3
        assert ended.notes[-1].startswith(f"llmprep: error: {name}: ")
        assert reason in ended.notes[-1]
        assert printed == "--ids" or ended.lines == []


def test_only_what_is_empty_counts_as_0(tmp_path: Path, call: Call) -> None:
    """An empty text, one with only a mark, records without text and an empty compressed file are 0 tokens each."""
    inputs = {"a.txt": b"", "b.txt": b"\xef\xbb\xbf", "c.jsonl": b'{"text": ""}\n\n', "d.gz": gzip.compress(b"")}
    for name, data in {**inputs, "e.txt": b"some words"}.items():
        (tmp_path / name).write_bytes(data)

    ended = call("tokenize", "--count", *inputs, "e.txt")

    assert ended.code == 0
    assert [line.split() for line in ended.lines] == [*(["0", name] for name in inputs), ["2", "e.txt"], ["2", "total"]]
    assert call("tokenize", "--count", *inputs).code == 3


def test_an_empty_input_among_others_has_no_ids(tmp_path: Path, call: Call) -> None:
    """``--ids`` gives an empty input an empty line, in its place; where all are empty it prints nothing."""
    for name, data in {"a.txt": "", "b.txt": "some words", "c.txt": "", "d.txt": "one"}.items():
        (tmp_path / name).write_text(data, encoding="utf-8")
    names = ["a.txt", "b.txt", "c.txt", "d.txt"]

    ended = call("tokenize", "--ids", *names)

    rows = [encode((tmp_path / name).read_text(encoding="utf-8")) for name in names]
    assert (ended.code, ended.lines) == (0, [" ".join(map(str, row)) for row in rows])
    assert call("tokenize", "--ids", "--json", *names).value["ids"] == [
        {"name": name, "token_ids": row} for name, row in zip(names, rows, strict=True)
    ]
    refused = call("tokenize", "--ids", "a.txt", "c.txt")
    assert (refused.code, refused.stdout) == (3, b"")
    assert refused.notes == ["llmprep: error: a.txt, c.txt: empty: 0 tokens"]


def test_ids_and_counts_report_special_tokens(call: Call) -> None:
    """How many end-of-text strings a text holds is told on these runs too, on standard error."""
    Path("a.txt").write_text("a<|endoftext|>b")

    for choice in ("--ids", "--count"):
        assert "<|endoftext|> stands 1 times in the text itself" in call("tokenize", choice, "a.txt").stderr.decode()


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["frobnicate"], "'frobnicate'"),
        (["window"], "'FILE...'"),
        (["window", "a.txt", "--strid", "4"], "--stride"),
        (["window", "a.txt", "--stride"], "'--stride'"),
        (["window", "a.txt", "--special", "maybe"], "'allow'"),
        (["window", "a.txt", "--dtype", "float32"], "'int64'"),
        (["window", "a.txt", "--val-fraction", "1"], "--val-fraction 1"),
        (["window", "a.txt", "--val-fraction", "nan"], "--val-fraction nan"),
        (["window", "a.txt", "--val-fraction", "x"], "'--val-fraction'"),
        (["window", "a.txt", "--val-fraction", "0.5", "-o", "-"], "--val-fraction"),
        (["tokenize", "a.txt", "--count", "--ids"], "--count and --ids"),
        (["tokenize", "a.txt", "--count", "-o", "b.pt"], "--count and --ids"),
        (["pairs", "a.txt", "--start", "-1"], "'--start'"),
        (["pairs", "a.txt", "--windows", "0"], "'--windows'"),
        (["embed", "a.txt", "--seed", "-1"], "'--seed'"),
        (["embed", "a.txt", "--batch-size", "0"], "'--batch-size'"),
        (["embed", "a.txt", "--batches", "0"], "'--batches'"),
        (["tokenize", "-", "-", "-o", "b.pt"], "-: "),
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_one_line(call: Call, arguments: list[str], named: str) -> None:
    """A call that makes no sense gets one line that names what is wrong, exit code 2, and writes nothing."""
    Path("a.txt").write_text("one two three four")

    ended = call(*arguments)

    assert (ended.code, ended.stdout) == (2, b"")
    (line,) = ended.notes
    assert line.startswith("llmprep: error: ")
    assert named in line
    assert [path.name for path in Path().iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("name", "suggested"),
    [("gpt3", "gpt2"), ("cl100k", "cl100k_base"), ("o200kbase", "o200k_base"), ("GPT-4o", "gpt-4o")],
)
def test_an_unknown_encoding_suggests_near_ones(call: Call, story: Path, name: str, suggested: str) -> None:
    """An encoding that does not exist gets its nearest neighbours, each once."""
    ended = call("tokenize", story, "--encoding", name)

    assert ended.code == 5
    (line,) = ended.notes
    offered = line.partition("did you mean ")[2].rstrip("?").split(" or ")
    assert suggested in offered
    assert len(offered) == len(set(offered))


def test_an_encoding_like_no_other_lists_all(call: Call, story: Path) -> None:
    """Where nothing is near, the known encodings are named."""
    ended = call("tokenize", story, "--encoding", "zzzzzzzz")

    assert ended.code == 5
    assert "known are gpt2, r50k_base, p50k_base" in ended.stderr.decode()


def test_debug_shows_the_traceback(llmprep: Run) -> None:
    """With LLMPREP_DEBUG=1, and only then, an error shows where it was raised."""
    plain = llmprep("tokenize", "missing.txt")
    debug = llmprep("tokenize", "missing.txt", env={"LLMPREP_DEBUG": "1"})

    assert b"Traceback" not in plain.stderr
    assert b"Traceback" in debug.stderr
    assert b"InputError: missing.txt" in debug.stderr
    assert (plain.returncode, debug.returncode) == (1, 1)


def test_a_call_cannot_abbreviate_options(call: Call, story: Path) -> None:
    """A shortened option is refused, so that a later version's options cannot change what it means."""
    assert call("window", story, "--max", "4").code == 2


def takes_text(parameter: Any) -> bool:
    """Tell an option or argument for a text from flags and numbers; --around has an error of its own."""
    return "--around" not in parameter.opts and not parameter.is_flag if parameter.opts[0].startswith("-") else True


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_value_is_refused(call: Call, story: Path, tmp_path: Path, command: str) -> None:
    """An option or argument that is empty, as a variable that is not set gives it, is never taken for the default."""
    parameters = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    files = [] if command in ("inspect", "merge") else [story]

    for parameter in filter(takes_text, parameters):
        name = parameter.opts[-1] if len(parameter.opts) == 1 else next(o for o in parameter.opts if o[:2] == "--")
        ended = call(command, *files, *([name, ""] if name.startswith("--") else [""]))

        assert (ended.code, ended.stdout) == (2, b""), name
        (line,) = ended.notes
        assert line.startswith("llmprep: error: Invalid value for "), name
        assert "is empty" in line or "''" in line, line
    assert list(tmp_path.iterdir()) == []


def test_an_empty_variable_is_not_set(call: Call, story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``LLMPREP_VOCAB_DIR=`` in the environment names no folder, as if it were not there."""
    monkeypatch.setenv("LLMPREP_VOCAB_DIR", "")

    assert call("tokenize", story, "--count").lines == [f"6259 {story}"]


# --- start ----------------------------------------------------------------------------------------


def imported_by(arguments: Sequence[str | Path], cwd: Path, first: str = "") -> tuple[int, set[str]]:
    """Run a command line in a fresh Python whose output is a pipe: its exit code, and which heavy modules it loaded."""
    script = (
        f"import sys; {first}\n"
        "from llmprep.cli.main import run\n"
        "code = run(sys.argv[1:])\n"
        f"print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=cwd, env=clean_environment(), capture_output=True, check=False
    )
    return ended.returncode, set(ended.stderr.decode().splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_help_and_version_load_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    """``--help`` and ``--version`` load none of torch, numpy, tiktoken and rich."""
    assert imported_by(arguments, tmp_path) == (0, set())


@pytest.mark.parametrize("command", ["tokenize", "pairs", "window"])
def test_only_embed_loads_torch(tmp_path: Path, story: Path, command: str) -> None:
    """In a pipe, ``tokenize``, ``pairs`` and ``window`` load neither torch nor rich."""
    assert imported_by([command, story, "-o", "o.pt"], tmp_path) == (0, {"numpy", "tiktoken"})


@pytest.mark.parametrize("name", HEAVY)
def test_the_test_of_imports_can_fail(tmp_path: Path, name: str) -> None:
    """A heavy module that a command loads is seen by the tests above."""
    code, loaded = imported_by(["--version"], tmp_path, first=f"import {name}")

    assert code == 0
    assert name in loaded


def test_importing_the_package_loads_nothing_heavy() -> None:
    """``import llmprep`` loads none of torch, numpy, tiktoken and rich; each public name is there on first use."""
    script = (
        "import sys, llmprep\n"
        f"assert not [name for name in {HEAVY} if name in sys.modules]\n"
        "assert set(llmprep.__all__) <= set(dir(llmprep))\n"
        "assert callable(llmprep.encode_text) and 'torch' not in sys.modules\n"
    )

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, env=clean_environment())

    assert (ended.returncode, ended.stderr) == (0, b"")


# --- terminals ------------------------------------------------------------------------------------


def on_terminal(arguments: Sequence[str | Path], cwd: Path, **env: str) -> str:
    """What a command sends to a terminal of 100 columns."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "llmprep", *arguments]
    with subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        env=clean_environment({"COLUMNS": "100", **env}),
    ) as child:  # fmt: skip
        os.close(theirs)
        sent = b"".join(iter(lambda: read_terminal(ours), b""))
    os.close(ours)
    assert child.returncode == 0
    return sent.decode()


def read_terminal(descriptor: int) -> bytes:
    """Read what a terminal was sent; nothing at its end, which Linux tells as an error."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def test_a_terminal_gets_colours(story: Path, tmp_path: Path) -> None:
    """On a terminal the preview is coloured, and has the same ids as in a pipe."""
    sent = on_terminal(["tokenize", story], tmp_path)

    assert re.search(SGR, sent)
    lines = re.sub(SGR, "", sent).splitlines()
    ids = [int(i) for line in lines if re.fullmatch(r"[\d ]+", line) for i in line.split()]
    assert ids == encode(story.read_text(encoding="utf-8"))[: len(ids)]
    assert len(ids) > 20


def test_no_color_is_heeded(story: Path, tmp_path: Path) -> None:
    """With NO_COLOR a terminal is sent no colour."""
    sent = on_terminal(["tokenize", story], tmp_path, NO_COLOR="1")

    assert "Ele" in sent
    assert {code for found in re.findall(SGR, sent) for code in found[2:-1].split(";")} <= {"0", "1", "2", "3"}


def test_json_on_a_terminal_is_plain(story: Path, tmp_path: Path) -> None:
    """``--json`` looks the same on a terminal as in a pipe."""
    sent = on_terminal(["pairs", story, "--json"], tmp_path)

    assert set(json.loads(sent)) == PAIRS_KEYS


def test_inputs_that_were_not_read_are_not_said_to_be_empty(call: Call, tmp_path: Path) -> None:
    """`pairs` reads no further than it shows: of what lies behind it knows nothing."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text("one two three four five six seven")
    (tmp_path / "e.txt").touch()

    assert call("pairs", "a.txt", "b.txt", "c.txt").notes == []
    assert call("pairs", "e.txt", "a.txt", "b.txt").notes == ["llmprep: note: 1 empty input skipped: e.txt"]


@pytest.mark.parametrize(
    "options",
    [
        ["tokenize", "a.txt", "--count", "--dtype", "int32"],
        ["tokenize", "a.txt", "--count", "--force"],
        ["tokenize", "a.txt", "--ids", "--shard-bytes", "9"],
        ["tokenize", "a.txt", "--ids", "--dry-run"],
        ["tokenize", "a.txt", "-o", "s/", "--force"],
        ["pairs", "a.txt", "--force"],
        ["embed", "a.txt", "--max-length", "2", "--weights", "w.pt", "--order", "ch02"],
    ],
    ids=" ".join,
)
def test_an_option_that_nothing_uses_is_refused(options: list[str], call: Call, tmp_path: Path) -> None:
    """An option that changes nothing in this run is a mistake, and named."""
    (tmp_path / "a.txt").write_text("one two three four five six seven")

    ended = call(*options)

    assert (ended.code, ended.stdout) == (2, b"")
    assert ended.notes[0].startswith("llmprep: error: --")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
