"""Promises of names that are not there: an address, and a slip of the pen, are said in every command."""

from pathlib import Path

import pytest
from support.commands import Call
from support.refusals import check_refused
from support.stores import write_files

from llmprep import create_dataloader
from llmprep.errors import InputError
from llmprep.missing import advise_missing

NEAR = {"stroy.txt": "story.txt", "story": "story.txt", "storys/x.md": "stories/x.md", "./Story.text": "./story.txt",
        "tok.pt": "toks.pt", "stoer": "store", "stoer/": "store"}  # fmt: skip
FAR = ("nothing", "x/y/z", "q.txt", "", "stories/story.txt", "toks.pt/x", "a\0b")
ADDRESSES = {
    "https://x.org/a.txt?b=*": "curl -sL 'https://x.org/a.txt?b=*' | ", "HTTP://x.org": "curl -sL HTTP://x.org | ",
    "/here/https:/x.org/a": "curl -sL https://x.org/a | ", "s3://b/k": "cp s3://b/k - | ",
    "gs://b/k": "cat gs://b/k | ",
    "hf://datasets/x": "hf download", "az://b/k": "download it first", "file:///a": "leave out file://",
}  # fmt: skip


def test_what_may_be_meant(tmp_path: Path) -> None:
    """A name like one that is there, also of a folder on the way; nothing where none is; what an address wants."""
    write_files(tmp_path, dict.fromkeys(("story.txt", "stories/x.md", "toks.pt", "store/a"), ""))
    assert {name: advise_missing(name).removeprefix("; did you mean ").removesuffix("?") for name in NEAR} == NEAR
    (tmp_path / "dangling").symlink_to("nothing")
    assert {advise_missing(name) for name in (*FAR, "dangling")} == {""}
    assert all(words in advise_missing(address) for address, words in ADDRESSES.items())


def test_every_command_says_so(call: Call) -> None:
    """Texts, files, stores, weights and lists of names; from Python too; an output is no address either."""
    write_files(Path(), {"story.txt": "one two three four five six seven"})
    assert call("tokenize", "story.txt", "-q").code == call("tokenize", "story.txt", "-o", "store/", "-q").code == 0
    near = "...: ...o such file or directory; did you mean {}?"
    for command, meant in (
        ("tokenize stroy.txt", "story.txt"), ("window stroy.txt", "story.txt"), ("pairs stroy.txt", "story.txt"),
        ("tokenize --count stroy.txt", "story.txt"), ("tokenize --files-from stroy.txt -o x/", "story.txt"),
        ("embed stoy.tokens.pt", "story.tokens.pt"), ("inspect stroy.tokens.pt", "story.tokens.pt"),
        ("inspect stoer", "store"), ("merge stoer", "store"), ("tokenize stroy.txt --on-bad skip", "story.txt"),
        ("embed story.txt --max-length 4 --weights story.token.pt", "story.tokens.pt"),
    ):  # fmt: skip
        check_refused(call, *command.split(), code=1, line=near.format(meant))
    with pytest.raises(InputError, match=r"did you mean .*story\.tokens\.pt"):
        create_dataloader(Path("story.token.pt"))
    for line in ("window story.txt \u2013max-length 4", "tokenize \u2014max-length -o x.pt", "pairs \u2212max-length"):
        check_refused(call, *line.split(), code=1, line="...max-length: no such file ... two hyphens: --max-length")
    for address in ADDRESSES:
        check_refused(call, "window", address, code=1, line=f"{address}: no such file or directory; ...")
    for output in ("s3://b/k.pt", "s3://b/k/"):
        check_refused(call, "tokenize", "story.txt", "-o", output, code=1, line=f"{output}: is an address, ...")


def test_an_output_is_what_its_name_says(call: Call) -> None:
    """A name that promises another format is refused; one without an ending says what was written."""
    write_files(Path("in"), {"a.txt": "one two three four five", "b.txt": "six"})
    for command in ("tokenize in -o", "window in --max-length 2 -o", "pairs in -o", "embed in --max-length 2 -o"):
        for name in ("x.json", "x.NPY"):
            line = f"{name}: a .pt file is written, whatever its name; name it x.pt..., or --force"
            check_refused(call, *command.split(), name, code=2, line=line)
    assert call("tokenize", "in", "-o", "x.bin", "--force").code == 0
    note = "llmprep: note: fresh: a .pt file of tokens; for a token store of many files write -o fresh/"
    assert call("tokenize", "in", "-o", "fresh").notes == [note]
    assert call("tokenize", "in", "-o", "fresh", "--dry-run").notes == [note]
    assert call("tokenize", "in/a.txt", "-o", "plain").notes == []
