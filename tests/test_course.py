"""The course's chapter 2, output by output: what its notebook prints, beside what shows the same here.

Each row's command or call is run, and gives what plain torch and tiktoken give, written as the chapter writes it. What
the notebook prints besides is not llmprep's to show:

- versions, and the first 99 characters of the text: Python's own;
- words split by regular expressions, their vocabulary of 1,130 or 1,132 words, the ids and texts of
  SimpleTokenizerV1 and V2, and the KeyError of an unknown word: llmprep has the byte-level vocabularies that tiktoken
  has, in which no word is unknown;
- the weights of a layer of 6 x 3: torch draws them. `embed --order ch02` draws that layer as well, and shows nothing of
  it, so that the tables after it are the chapter's; rows of a table are looked up by ``embed --weights``, below.
"""

import shlex
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from support import reference
from support.commands import SAMPLES, Call

import llmprep

TOKENIZER = reference.tiktoken_encoding("gpt2")
SENTENCE = "Hello, do you like tea? <|endoftext|> In the sunlit terraces{}of someunknownPlace."
SPACED, JOINED = SENTENCE.format(" "), SENTENCE.format("")
"""As it is meant, and as the two strings in the notebook are joined."""
IDS = [15496, 11, 466, 345, 588, 8887, 30, 220, 50256, 554, 262, 4252, 18250, 8812, 2114, 286, 617, 34680, 27271, 13]
JOINED_IDS = [1659 if one == 286 else one for one in IDS]
WORD = "Akwirw ier"
PRINTED = "Inputs:\n {}\n\nTargets:\n {}"
"""What the chapter prints of a batch."""
LOADER = "create_dataloader(text, batch_size={}, max_length={}, stride={}, shuffle=False)"


class Row(NamedTuple):
    """What the chapter shows; a command on the text's ``path``, or a call on the ``text``; what plain code prints.

    ``known`` is what the notebook itself prints for the-verdict.txt.
    """

    shows: str
    by: str
    plain: Callable[[str], object]
    known: str = ""


def encode(text: str) -> list[int]:
    """The chapter's ids of a text."""
    return TOKENIZER.encode(text, allowed_special={"<|endoftext|>"})


def contexts(text: str) -> str:
    """Growing contexts from token 50 on, each with the next token: as ids, then as text."""
    pairs = [(context, target) for context, target in reference.pair_rows(encode(text)[50:], 4)]
    as_text = [f"{TOKENIZER.decode(context)} ----> {TOKENIZER.decode([target])}" for context, target in pairs]
    return "\n".join([*(f"{context} ----> {target}" for context, target in pairs), *as_text])


def batches(text: str, batch_size: int, max_length: int, stride: int, count: int = 1) -> list[Any]:
    """The first batches, unshuffled."""
    return list(islice(reference.dataloader(text, batch_size, max_length, stride, shuffle=False), count))


TABLE = [
    Row("characters", "llmprep tokenize {path}", lambda text: f" {len(text):,} characters", " 20,479 characters"),
    Row("ids of a sentence", f"encode_text({SPACED!r}).tolist()", lambda _: encode(SPACED), str(IDS)),
    Row("as it is joined", f"encode_text({JOINED!r}).tolist()", lambda _: encode(JOINED), str(JOINED_IDS)),
    Row("its text again", f"Tokens({JOINED_IDS}).text", lambda _: TOKENIZER.decode(encode(JOINED)), JOINED),
    Row("exercise 2.1, ids", f"list(Tokens.of_text({WORD!r}))", lambda _: encode(WORD)),
    Row(
        "exercise 2.1, one by one",
        f"[(one, Tokens([one]).text) for one in Tokens.of_text({WORD!r})]",
        lambda _: [(one, TOKENIZER.decode([one])) for one in encode(WORD)],
    ),
    Row("exercise 2.1, again", f"Tokens.of_text({WORD!r}).text", lambda _: TOKENIZER.decode(encode(WORD))),
    Row("tokens", "llmprep tokenize --count {path}", lambda text: f"{len(encode(text))} ", "5145 "),
    Row(
        "x and y from token 50 on",
        "[part.tolist() for part in WindowDataset(encode_text(text)[50:], max_length=4)[0]]",
        lambda text: [encode(text)[50:54], encode(text)[51:55]],
        "[[290, 4920, 2241, 287], [4920, 2241, 287, 257]]",
    ),
    Row("growing contexts, as ids and as text", "llmprep pairs {path} --start 50 --context-size 4", contexts),
    Row(
        "growing contexts, in a notebook",
        "list(Tokens.of_text(text)[50:].pairs(4))",
        lambda text: list(reference.pair_rows(encode(text)[50:], 4)),
    ),
    Row(
        "first and second batch of 1",
        f"list(islice({LOADER.format(1, 4, 1)}, 2))",
        lambda text: batches(text, 1, 4, 1, count=2),
        "[[tensor([[  40,  367, 2885, 1464]]), tensor([[ 367, 2885, 1464, 1807]])], "
        "[tensor([[ 367, 2885, 1464, 1807]]), tensor([[2885, 1464, 1807, 3619]])]]",
    ),
    Row("a batch of 8", f"list(islice({LOADER.format(8, 4, 4)}, 1))", lambda text: batches(text, 8, 4, 4)),
    Row("exercise 2.2, 2 and 2", f"list(islice({LOADER.format(4, 2, 2)}, 1))", lambda text: batches(text, 4, 2, 2)),
    Row("exercise 2.2, 8 and 2", f"list(islice({LOADER.format(4, 8, 2)}, 1))", lambda text: batches(text, 4, 8, 2)),
    Row(
        "exercise 2.1, by a command",
        f"llmprep tokenize --ids --text {WORD!r}",
        lambda _: " ".join(map(str, encode(WORD))),
    ),
    Row("its text again, by a command", f"llmprep decode {' '.join(map(str, JOINED_IDS))}", lambda _: JOINED),
    Row(
        "first batch of 1, by a command",
        "llmprep window {path} --max-length 4 --stride 1 --batch-size 1 -o w.pt",
        lambda text: PRINTED.format(*batches(text, 1, 4, 1)[0]),
    ),
    Row(
        "a batch of 8, by a command",
        "llmprep window {path} --max-length 4 --stride 4 --batch-size 8 -o w.pt",
        lambda text: PRINTED.format(*batches(text, 8, 4, 4)[0]),
    ),
]


def run(row: Row, path: Path, call: Call) -> str:
    """What a command writes to standard output, or what is printed of the value of a call."""
    if row.by.startswith("llmprep "):
        ended = call(*shlex.split(row.by.format(path=shlex.quote(str(path))))[1:])
        assert ended.code == 0
        return ended.stdout.decode()
    names = {name: getattr(llmprep, name) for name in llmprep.__all__}
    return str(eval(row.by, {**names, "text": path.read_text(encoding="utf-8"), "islice": islice}))  # noqa: S307 - ours


@pytest.fixture(params=["the-verdict.txt", "story.txt"])
def chapter(request: pytest.FixtureRequest) -> Path:
    """The course's text where it lies beside the project, and the sample story anywhere."""
    if request.param == "story.txt":
        return SAMPLES / "story.txt"
    verdict: Path = request.getfixturevalue("verdict")
    return verdict


@pytest.mark.parametrize("row", TABLE, ids=[row.shows for row in TABLE])
def test_what_the_chapter_shows_is_shown(row: Row, chapter: Path, call: Call) -> None:
    """What plain torch and tiktoken print is what a call prints, and stands so in what a command writes."""
    plain = str(row.plain(chapter.read_text(encoding="utf-8")))
    shown = run(row, chapter, call)
    assert plain in shown
    assert shown == plain or row.by.startswith("llmprep ")
    assert chapter.name != "the-verdict.txt" or row.known in ("", plain)


def test_the_chapters_embeddings(chapter: Path, call: Call) -> None:
    """Of the first batch of 8: shapes of token, positional and input embeddings, and each number, under its seed."""
    text = chapter.read_text(encoding="utf-8")
    wanted = next(reference.chapter_embeddings(text))
    options = "embed PATH --max-length 4 --stride 4 --batches 1 --order ch02 -o 8.pt"
    ended = call(*[chapter if word == "PATH" else word for word in options.split()])
    token, position = list(wanted.shape), list(wanted.shape[1:])
    assert ended.lines[0] == f"[8, 4] -> token {token} + position {position} -> {token}"
    assert torch.equal(torch.load("8.pt", weights_only=True)["input_embeddings"], wanted)


def test_a_row_of_a_table_is_looked_up(call: Call, tmp_path: Path) -> None:
    """The chapter's layer of 6 x 3, given as a table, turns its four ids into the rows that torch looks up."""
    torch.manual_seed(123)
    layer, ids = torch.nn.Embedding(6, 3), torch.tensor([2, 3, 5, 1])
    torch.save({"input_ids": ids[None], "target_ids": ids[None]}, tmp_path / "ids.pt")
    tables = {"tok_emb.weight": layer.weight.detach(), "pos_emb.weight": torch.zeros(4, 3)}
    torch.save(tables, tmp_path / "tables.pt")
    assert call("embed", "ids.pt", "--encoding", "gpt2", "--weights", "tables.pt", "-o", "rows.pt").code == 0
    assert torch.equal(torch.load("rows.pt", weights_only=True)["input_embeddings"][0], layer(ids).detach())
