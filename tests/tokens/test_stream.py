"""Promises of tokens: ids equal tiktoken's for the whole text, whatever the blocks, and every figure is right."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference
from support.commands import SAMPLES
from support.strategies import adversarial_text

from llmprep.choices import BackendName, Effort, Newlines, Separator, Special, TextOptions
from llmprep.documents.blocks import Block
from llmprep.documents.finding import find_sources
from llmprep.documents.source import Source
from llmprep.errors import DataError, EmptyError, UsageError, VocabularyError
from llmprep.tokens.backends import Encoder
from llmprep.tokens.decoding import decode_ids, token_table
from llmprep.tokens.encoding import _text_encoder, encode_text
from llmprep.tokens.spooling import spool
from llmprep.tokens.stream import TokenStream, stream_text
from llmprep.vocabulary.loading import Vocabulary, load_vocabulary

EOT = "<|endoftext|>"
HUGE = 1 << 26
BLOCK_SIZES = (1, 2, 7, 64, HUGE)
EXAMPLES = {"gpt2": 30, "p50k_base": 20, "cl100k_base": 15, "o200k_base": 12}
"""Encodings, and how many drawn streams each can afford: to build tiktoken's tokenizer takes most of the time."""

# Two NULs in a short text are taken for binary data, which documents are tested for.
texts = st.lists(adversarial_text.filter(lambda text: text.count("\x00") < 2), min_size=1, max_size=6)
BACKENDS: tuple[tuple[BackendName, int], ...] = (("tiktoken", 1), ("tiktoken", 3), ("gigatoken", 2))
efforts = st.builds(
    lambda backend, block_bytes: Effort(backend[0], backend[1], block_bytes),
    st.sampled_from(BACKENDS),
    st.sampled_from(BLOCK_SIZES),
)
"""Ways to encode, of which none may show in an id or a figure."""

text_options: st.SearchStrategy[tuple[Separator, Special]] = st.tuples(
    st.sampled_from(("eot", "none")), st.sampled_from(("allow", "text"))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(scope="module")
def load(vocab_dir: Path) -> Callable[[str], Vocabulary]:
    """Load a vocabulary once."""
    loaded: dict[str, Vocabulary] = {}

    def load(name: str) -> Vocabulary:
        if name not in loaded:
            loaded[name] = load_vocabulary(name, str(vocab_dir))
        return loaded[name]

    return load


@pytest.fixture(scope="module")
def gpt2(load: Callable[[str], Vocabulary]) -> Vocabulary:
    return load("gpt2")


def write(folder: Path, documents: Sequence[str | bytes]) -> list[Source]:
    """Write each document to a file of its own."""
    paths = [folder / f"{number}.txt" for number in range(len(documents))]
    for path, document in zip(paths, documents, strict=True):
        path.write_bytes(document if isinstance(document, bytes) else document.encode())
    return find_sources(list(map(str, paths)))


def as_read(text: str, newlines: Newlines = "universal") -> str:
    """The text as Python's text mode gives it, without a byte order mark."""
    text = text.removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n") if newlines == "universal" else text


def expected_ids(documents: Sequence[str], encoding: str, separator: Separator, special: Special) -> list[int]:
    """Each document encoded whole, with the separator between any two that are not empty."""
    encoded = [reference.encode(text, encoding, special) for text in documents if text]
    between = [reference.tiktoken_encoding(encoding).eot_token] if separator == "eot" else []
    return list(itertools.chain.from_iterable([*(between if k else []), *ids] for k, ids in enumerate(encoded)))


def all_ids(stream: TokenStream) -> list[int]:
    return [int(token) for block in stream for token in block]


# --- exactness ------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", EXAMPLES)
def test_ids_are_tiktokens(encoding: str, load: Callable[[str], Vocabulary], folder: Path) -> None:
    """Texts full of places where a careless cut would change ids give tiktoken's ids, however read and encoded."""
    vocabulary = load(encoding)

    @settings(max_examples=EXAMPLES[encoding])
    @given(documents=texts, options=text_options, newlines=st.sampled_from(("universal", "keep")), effort=efforts)
    def check(
        documents: list[str],
        options: tuple[Separator, Special],
        newlines: Newlines,
        effort: Effort,
    ) -> None:
        separator, special = options
        documents = [*documents, "the end"]  # so that the stream is not empty
        chosen = TextOptions(newlines, separator, special)

        ids = all_ids(stream_text(write(folder, documents), vocabulary, chosen, effort))

        read = [as_read(text, newlines) for text in documents]
        assert ids == expected_ids(read, encoding, separator, special)

    check()


@pytest.mark.parametrize("block_bytes", BLOCK_SIZES)
@pytest.mark.parametrize("encoding", EXAMPLES)
def test_sample_texts_have_tiktokens_ids(encoding: str, block_bytes: int, load: Callable[[str], Vocabulary]) -> None:
    """Prose, a program, twelve scripts, text with separators and records give tiktoken's ids at every block size."""
    paths = [SAMPLES / name for name in ("story.txt", "scripts.txt", "documents.txt", "tides.py", "records.jsonl")]
    sources = find_sources(list(map(str, paths)))

    ids = all_ids(stream_text(sources, load(encoding), TextOptions(), Effort(block_bytes=block_bytes)))

    read = [path.read_text(encoding="utf-8") for path in paths[:-1]]
    records = map(json.loads, paths[-1].read_text(encoding="utf-8").splitlines())
    assert ids == expected_ids([*read, *(record["text"] for record in records)], encoding, "eot", "allow")


def test_the_courses_text_has_the_courses_ids(verdict: Path, gpt2: Vocabulary) -> None:
    """The course's story gives 5,145 ids, those of the whole text encoded at once."""
    ids = all_ids(stream_text(find_sources([str(verdict)]), gpt2, TextOptions()))

    assert len(ids) == 5145
    assert ids == reference.encode(verdict.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("encoding", EXAMPLES)
def test_a_safe_cut_changes_no_id(encoding: str, load: Callable[[str], Vocabulary]) -> None:
    """Cut at every safe place of thousands of adversarial texts, the parts' ids are the whole text's."""
    theirs = reference.tiktoken_encoding(encoding)

    @settings(max_examples=2000)
    @given(text=adversarial_text)
    def check(text: str) -> None:
        edges = enumerate(itertools.pairwise(text), start=1)
        places = [k for k, (left, right) in edges if left.isascii() and left.isalnum() and right in " \t\r\n"]
        parts = [text[start:end] for start, end in itertools.pairwise([0, *places, len(text)])]

        ids = [token for part in parts for token in theirs.encode(part, allowed_special={EOT}, disallowed_special=())]

        assert ids == reference.encode(text, encoding)

    check()


@settings(max_examples=20)
@given(documents=texts, options=text_options, efforts=st.tuples(efforts, efforts))
@pytest.mark.slow
def test_the_effort_never_shows(
    documents: list[str],
    options: tuple[Separator, Special],
    efforts: tuple[Effort, Effort],
    folder: Path,
    gpt2: Vocabulary,
) -> None:
    """Two block sizes, backends or numbers of jobs give the same ids and the same figures."""
    chosen = TextOptions("universal", *options)

    one, other = (stream_text(write(folder, [*documents, "x"]), gpt2, chosen, effort) for effort in efforts)

    assert all_ids(one) == all_ids(other)
    assert (one.n_tokens, one.n_special, one.content_sha256) == (other.n_tokens, other.n_special, other.content_sha256)
    assert one.sources == other.sources


# --- separators -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        (["one"], [505]),
        (["one", " two"], [505, 50256, 734]),
        (["one", " two", "one"], [505, 50256, 734, 50256, 505]),
        (["", "one"], [505]),
        (["one", ""], [505]),
        (["one", "", "", " two"], [505, 50256, 734]),
        (["one", "\ufeff", " two"], [505, 50256, 734]),
        ([EOT, EOT], [50256, 50256, 50256]),
    ],
)
def test_separators_stand_between_documents(
    documents: list[str], expected: list[int], tmp_path: Path, gpt2: Vocabulary
) -> None:
    """One end-of-text id between two documents that hold text; none before, behind, or for an empty document."""
    assert reference.encode("one") == [505]
    assert reference.encode(" two") == [734]

    assert all_ids(stream_text(write(tmp_path, documents), gpt2, TextOptions())) == expected


def test_a_separator_is_no_text(tmp_path: Path, gpt2: Vocabulary) -> None:
    """The separator is placed by id: neighbours are never joined into one text, and it counts for no document."""
    sources = write(tmp_path, ["hel", "lo"])

    stream = stream_text(sources, gpt2, TextOptions(separator="none"))

    assert all_ids(stream) == [*reference.encode("hel"), *reference.encode("lo")] != reference.encode("hello")
    assert stream.n_special == 0


@pytest.mark.parametrize("documents", [[""], ["", ""], ["\ufeff"]])
def test_no_text_at_all_is_an_error(documents: list[str], tmp_path: Path, gpt2: Vocabulary) -> None:
    """Documents that are all empty give one error, at the end."""
    with pytest.raises(EmptyError, match="empty: 0 tokens"):
        all_ids(stream_text(write(tmp_path, documents), gpt2, TextOptions()))


# --- special tokens in the text -------------------------------------------------------------------


@pytest.mark.parametrize("block_bytes", BLOCK_SIZES)
@pytest.mark.parametrize("special", ["allow", "text"])
def test_end_of_text_in_the_text_is_as_chosen(
    special: Special, block_bytes: int, tmp_path: Path, gpt2: Vocabulary
) -> None:
    """The string becomes its id or stays text, whole and partial, and is counted either way."""
    text = f"one{EOT} two {EOT}{EOT}\n<|endoftext <|endof\ntext|> |>"

    stream = stream_text(write(tmp_path, [text]), gpt2, TextOptions(special=special), Effort(block_bytes=block_bytes))

    ids = all_ids(stream)
    assert ids == reference.encode(text, special=special)
    assert ids.count(gpt2.eot_id) == (3 if special == "allow" else 0)
    assert stream.n_special == 3


@settings(max_examples=20)
@given(documents=texts, options=text_options, effort=efforts)
def test_every_end_of_text_in_the_texts_is_counted(
    documents: list[str], options: tuple[Separator, Special], effort: Effort, folder: Path, gpt2: Vocabulary
) -> None:
    """n_special is how often the string stands in the texts; separators do not count."""
    separator, special = options

    stream = stream_text(write(folder, [*documents, "x"]), gpt2, TextOptions("universal", separator, special), effort)
    all_ids(stream)

    assert stream.n_special == sum(text.count(EOT) for text in documents)


def test_other_special_tokens_stay_text(tmp_path: Path, load: Callable[[str], Vocabulary]) -> None:
    """Only the end-of-text string may become a special id, as in the course's call of ``encode``."""
    text = f"a<|fim_prefix|>b<|endofprompt|>{EOT}"

    ids = all_ids(stream_text(write(tmp_path, [text]), load("cl100k_base"), TextOptions()))

    assert ids == reference.encode(text, "cl100k_base")
    assert [token for token in ids if token > 100_256] == [100_257]


@pytest.mark.parametrize("block_bytes", BLOCK_SIZES)
@pytest.mark.parametrize(
    ("encoding", "text", "token"),
    [
        ("gpt2", f"caf\u00e9 one\r\ntwo {EOT} three", EOT),
        ("gpt2", f"{EOT}", EOT),
        ("cl100k_base", f"one two <|fim_prefix|> three {EOT}", "<|fim_prefix|>"),
    ],
)
def test_special_error_names_the_place(
    encoding: str, text: str, token: str, block_bytes: int, tmp_path: Path, load: Callable[[str], Vocabulary]
) -> None:
    """With ``error``, any special token of the vocabulary ends the run with its byte offset in the file."""
    offset = text.encode().index(token.encode())

    with pytest.raises(DataError) as raised:
        all_ids(
            stream_text(
                write(tmp_path, [text]),
                load(encoding),
                TextOptions(special="error"),
                Effort(block_bytes=block_bytes),
            )
        )

    assert f"0.txt: special token {token} in the text at byte {offset};" in str(raised.value)


@settings(max_examples=20)
@given(text=adversarial_text.filter(lambda text: text.count("\x00") < 2), effort=efforts)
def test_special_error_finds_every_special_token(text: str, effort: Effort, folder: Path, gpt2: Vocabulary) -> None:
    """With ``error``, a text passes, with its ordinary ids, exactly if no special token stands in it."""
    stream = stream_text(write(folder, ["a " + text]), gpt2, TextOptions(special="error"), effort)

    if EOT in text:
        with pytest.raises(DataError, match=f"in the text at byte {2 + len(text.partition(EOT)[0].encode())};"):
            all_ids(stream)
    else:
        assert all_ids(stream) == reference.encode(as_read("a " + text))


# --- figures --------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(documents=texts, options=text_options, effort=efforts)
def test_every_token_is_accounted_for(
    documents: list[str], options: tuple[Separator, Special], effort: Effort, folder: Path, gpt2: Vocabulary
) -> None:
    """Tokens of the sources and separators add up to the stream's; hashes are of the bytes and of the ids."""
    separator, special = options
    documents = [*documents, "the end"]

    stream = stream_text(write(folder, documents), gpt2, TextOptions("universal", separator, special), effort)
    ids = all_ids(stream)

    read = list(map(as_read, documents))
    n_separators = sum(map(bool, read)) - 1 if separator == "eot" else 0
    assert stream.n_tokens == len(ids) == sum(source["tokens"] for source in stream.sources) + n_separators
    assert stream.content_sha256 == hashlib.sha256(np.array(ids, "<u4").tobytes()).hexdigest()
    assert stream.sources == [
        {
            "name": f"{number}.txt",
            "bytes": len(text.encode()),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "tokens": len(reference.encode(as_read(text), special=special)),
            "documents": int(as_read(text) != ""),
        }
        for number, text in enumerate(documents)
    ]


@pytest.mark.parametrize("block_bytes", BLOCK_SIZES)
@pytest.mark.parametrize("head_size", [0, 1, 5, 6, 7, 100])
def test_the_head_keeps_the_first_ids(head_size: int, block_bytes: int, tmp_path: Path, gpt2: Vocabulary) -> None:
    """As many ids as asked for are kept from the front, across blocks and documents, and no more."""
    effort = Effort(block_bytes=block_bytes)
    stream = stream_text(write(tmp_path, ["one two three", "four five six"]), gpt2, TextOptions(), effort)
    stream.head_size = head_size

    ids = all_ids(stream)

    assert len(ids) == 7
    assert stream.head == ids[:head_size]


def test_blocks_are_uint32(tmp_path: Path, gpt2: Vocabulary) -> None:
    """Each block is a flat array of uint32, whether it is text or a separator."""
    blocks = list(stream_text(write(tmp_path, ["one", "two"]), gpt2, TextOptions()))

    assert [(block.dtype, block.ndim) for block in blocks] == [(np.dtype(np.uint32), 1)] * 3


@pytest.mark.parametrize(("count", "name"), [(1, "0.txt"), (3, "3 inputs")])
def test_a_stream_is_named_after_its_inputs(count: int, name: str, tmp_path: Path, gpt2: Vocabulary) -> None:
    """One input gives its path, several their number; the vocabulary's figures are the stream's."""
    stream = stream_text(write(tmp_path, ["text"] * count), gpt2, TextOptions())

    assert stream.name.endswith(name)
    assert (stream.encoding, stream.n_vocab, stream.vocab_sha256) == ("gpt2", 50257, gpt2.sha256)
    assert stream.options == {"newlines": "universal", "separator": "eot", "special": "allow"}


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path, gpt2: Vocabulary) -> None:
    """The first block comes before the rest of the text is read: a bad byte far behind it does not matter yet."""
    effort = Effort(block_bytes=4)
    blocks = iter(stream_text(write(tmp_path, [b"one two three\xff"]), gpt2, TextOptions(), effort))

    assert next(blocks).tolist() == reference.encode("one")
    with pytest.raises(DataError, match=r"at byte 13 \(0xff\)"):
        list(blocks)


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("backend", ["tiktoken", "gigatoken"])
def test_all_before_a_bad_byte_comes(backend: BackendName, jobs: int, tmp_path: Path, gpt2: Vocabulary) -> None:
    """However many threads read ahead, every block before the first error comes, in order, and then that error."""
    good = " ".join(f"word{number}" for number in range(100))
    sources = write(tmp_path, [good, good.encode() + b" \xff " + good.encode(), b"\xfe"])
    stream = stream_text(sources, gpt2, TextOptions(), Effort(backend, jobs, block_bytes=10))
    came: list[int] = []

    def read_on() -> None:
        for block in stream:
            came.extend(block.tolist())

    with pytest.raises(DataError, match=rf"1\.txt: not valid UTF-8 at byte {len(good) + 1} \(0xff\)"):
        read_on()

    ids = reference.encode(good)
    assert came == [*ids, 50256, *ids]


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("wrong", [EOT.encode(), b"\xff"], ids=["a special token", "a bad byte"])
def test_an_error_leaves_no_input_open(wrong: bytes, jobs: int, tmp_path: Path, gpt2: Vocabulary) -> None:
    """Whoever finds an error, the one that reads or one that encodes, the file it was found in is closed."""
    sources = write(tmp_path, ["one two", b"three " + wrong + b" four" * 100, "five"])
    blocks = stream_text(sources, gpt2, TextOptions(special="error"), Effort("tiktoken", jobs, block_bytes=10))

    with pytest.raises(DataError, match=r"1\.txt: "):
        list(blocks)

    assert [source.stream for source in sources] == [None] * 3


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_run_that_tiktoken_cannot_encode_is_one_error(newline: str, gpt2: Vocabulary) -> None:
    """The limit of tiktoken on white space is an error with the block's place in the file, never a panic."""
    raw = ("a" + newline * 2_000_000 + "b").encode()
    block = Block(Source("big.txt", "big.txt"), raw.replace(b"\r\n", b"\n"), raw, 7)

    with pytest.raises(DataError, match=rf"big\.txt: tiktoken cannot encode the {len(raw)} bytes from byte 7 on "):
        Encoder(gpt2, "allow", "tiktoken").encode(block)


# --- encode_text ----------------------------------------------------------------------------------


@settings(max_examples=15)
@given(text=adversarial_text, special=st.sampled_from(("allow", "text")))
def test_encode_text_is_tiktokens_encode(text: str, special: Special) -> None:
    """A text in memory gives tiktoken's ids as it is, carriage returns, marks and emptiness included."""
    ids = encode_text(text, special=special)

    assert ids.dtype == np.int64
    assert ids.tolist() == reference.encode(text, special=special)


@pytest.mark.parametrize("text", ["a\ud800b", "\udc00", "\ud83d\ude00 joined", "caf\u00e9 \ud83d"])
def test_encode_text_takes_broken_strings_as_tiktoken_does(text: str) -> None:
    """Halves of surrogate pairs are joined or replaced, as tiktoken joins and replaces them."""
    assert encode_text(text).tolist() == reference.encode(text)


def test_encode_text_takes_a_models_name() -> None:
    """The encoding may be a model's name."""
    assert encode_text("I HAD  always", "text-davinci-003").tolist() == reference.encode("I HAD  always", "p50k_base")


def test_encode_text_can_refuse_special_tokens() -> None:
    """``special="error"`` raises for an end-of-text string, with its byte."""
    with pytest.raises(DataError, match="at byte 5;"):
        encode_text(f"caf\u00e9{EOT}", special="error")


def test_encode_text_names_an_unknown_encoding() -> None:
    """An unknown encoding is llmprep's own error."""
    with pytest.raises(VocabularyError, match="did you mean gpt2"):
        encode_text("text", "gtp2")


@pytest.mark.parametrize("text", [b"text", Path("story.txt"), None, ["text"], 5, np.array(["text"])])
def test_encode_text_refuses_what_is_no_text(text: Any) -> None:
    """What is no str is llmprep's own error, which says what it is."""
    with pytest.raises(UsageError, match=f"text: must be a str, not {type(text).__name__}$"):
        encode_text(text)


@pytest.mark.parametrize("special", ["all", "", None, {"<|endoftext|>"}, ["allow"], np.array(["allow", "text"])])
def test_encode_text_refuses_an_unknown_special(special: Any) -> None:
    """A choice that there is not is refused, not taken for another; the error lists those there are."""
    with pytest.raises(UsageError, match=r"special .*: must be allow, text, error"):
        encode_text("text", special=special)


@pytest.mark.parametrize("encoding", [None, 5, b"gpt2", ["gpt2"], reference.tiktoken_encoding("gpt2")], ids=repr)
def test_encode_text_refuses_what_is_no_name_of_an_encoding(encoding: Any) -> None:
    """An Encoding object, or anything else that is no name, is llmprep's own error."""
    with pytest.raises(
        VocabularyError, match=f"must be the name of an encoding or a model, not a {type(encoding).__name__}"
    ):
        encode_text("text", encoding)


def test_encode_text_builds_its_encoder_once(gpt2: Vocabulary) -> None:
    """Later calls with an encoding and a ``special`` cost what the text costs: many take less than one building."""
    for special in get_args(Special):
        encode_text("text", special=special)
    started = time.process_time()
    Encoder(gpt2, "allow", "tiktoken")
    built = time.process_time()

    for special in get_args(Special) * 10:
        encode_text("I HAD always thought", "gpt-2", special=special)

    assert time.process_time() - built < built - started


def test_encode_text_tries_again_where_a_vocabulary_was_missing(
    vocab_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a vocabulary is not to be had is not remembered: once it is there, it is taken."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    _text_encoder.cache_clear()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.delenv("LLMPREP_VOCAB_DIR", raising=False)

    with (
        pytest.warns(UserWarning, match=r"^downloading cl100k_base\.tiktoken from "),
        pytest.raises(VocabularyError, match="no network in tests"),
    ):
        encode_text("text", "cl100k_base")
    shutil.copy(vocab_dir / "cl100k_base.tiktoken", tmp_path)

    assert encode_text("text", "cl100k_base").tolist() == reference.encode("text", "cl100k_base")


def test_encode_text_may_be_called_from_threads() -> None:
    """Calls at the same time, the first among them, give each text its own ids."""
    texts = [f"{number} HAD always {'x' * number}" for number in range(200)]
    _text_encoder.cache_clear()

    with ThreadPoolExecutor(8) as threads:
        found = [ids.tolist() for ids in threads.map(encode_text, texts)]

    assert found == [reference.encode(text) for text in texts]


# --- decoding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", EXAMPLES)
def test_ids_decode_back_to_the_text(encoding: str, load: Callable[[str], Vocabulary], folder: Path) -> None:
    """Decoding a stream's ids gives the text again, special tokens included."""
    vocabulary = load(encoding)
    table = token_table(vocabulary)

    @settings(max_examples=8)
    @given(text=adversarial_text.filter(lambda text: text.count("\x00") < 2), effort=efforts)
    def check(text: str, effort: Effort) -> None:
        sources = write(folder, ["a" + text])

        ids = all_ids(stream_text(sources, vocabulary, TextOptions(newlines="keep"), effort))

        assert decode_ids(ids, table) == "a" + text

    check()


@pytest.mark.parametrize("encoding", EXAMPLES)
def test_any_ids_decode_as_tiktoken_decodes(encoding: str, load: Callable[[str], Vocabulary]) -> None:
    """Ids in any order, which cut characters in the middle, give what tiktoken's ``decode`` gives."""
    table = token_table(load(encoding))
    theirs = reference.tiktoken_encoding(encoding)

    @given(ids=st.lists(st.sampled_from(sorted(table)) | st.integers(0, 255), max_size=20))
    def check(ids: list[int]) -> None:
        assert decode_ids(ids, table) == theirs.decode(ids)

    check()


def test_the_table_has_every_id(load: Callable[[str], Vocabulary]) -> None:
    """The table holds every id of tiktoken's encoding, special ones included, with tiktoken's bytes."""
    theirs = reference.tiktoken_encoding("cl100k_base")
    specials = {theirs.encode_single_token(token): token.encode() for token in theirs.special_tokens_set}

    table = token_table(load("cl100k_base"))

    assert table == {rank: token for token, rank in theirs._mergeable_ranks.items()} | specials


def test_an_unused_id_decodes_to_a_mark(load: Callable[[str], Vocabulary]) -> None:
    """An id that the vocabulary leaves unused is shown as U+FFFD, where tiktoken raises KeyError."""
    with pytest.raises(KeyError):
        reference.tiktoken_encoding("cl100k_base").decode([100_256])

    assert decode_ids([64, 100_256, 65], token_table(load("cl100k_base"))) == "a\ufffdb"


# --- spooling -------------------------------------------------------------------------------------


@given(blocks=st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=9), max_size=9))
def test_a_spooled_stream_is_the_stream(blocks: list[list[int]], folder: Path) -> None:
    """What goes through the temporary file comes back the same, and leaves no name behind."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)

    ids: Any = spool((np.array(block, np.uint32) for block in blocks), scratch)

    assert ids.dtype == np.dtype("<u4")
    assert ids.tolist() == list(itertools.chain.from_iterable(blocks))
    assert list(scratch.iterdir()) == []


def test_a_spooled_stream_cannot_be_written() -> None:
    """The spooled ids are read-only: views of them are handed out."""
    ids = spool(iter([np.arange(3, dtype=np.uint32)]))

    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 7
