"""Promises of documents: exact cuts, Python's newlines, exact offsets of errors, bounded and linear blocks."""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import io
import itertools
import lzma
import os
import string
import sys
import time
import unicodedata
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
import tiktoken
from hypothesis import assume, given
from hypothesis import strategies as st
from support.commands import Call
from support.reference import tiktoken_encoding
from support.strategies import adversarial_text

from llmprep.choices import BLOCK_BYTES, Newlines
from llmprep.documents import blocks as blocks_room
from llmprep.documents.blocks import SECOND_CUT, Block, last_safe_cut
from llmprep.documents.finding import find_sources
from llmprep.documents.opening import peek
from llmprep.documents.reading import read_blocks
from llmprep.documents.source import Source
from llmprep.errors import DataError, FileFormatError, InputError, UsageError
from llmprep.vocabulary.loading import load_vocabulary

LETTERS = [
    *map(ord, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
    *(code for code in range(0xC0, 0x180) if code not in (0xD7, 0xF7)),
    *range(0x3B1, 0x3CF),
    *range(0x400, 0x480),
    *range(0x5D0, 0x5EB),
    *(code for code in range(0x621, 0x64B) if not 0x63B <= code <= 0x640),
    *range(0x915, 0x93A),
    *range(0xE01, 0xE2F),
    *(*range(0x3041, 0x3094), *range(0x30A1, 0x30FB)),
    *range(0x5000, 0x9000),
    *range(0xAC00, 0xD000),
]
"""Code points behind which text may be cut."""

IS_LETTER = frozenset(LETTERS)

SECOND = set(string.punctuation) - set("'|_")
"""Signs before which text may be cut in want of a better place."""

BEHIND = " \t\r\n\u3001\u3002\uff0c"
"""Characters before which text may be cut."""

block_sizes = st.sampled_from([1, 2, 3, 7, 64, 1000]) | st.integers(1, 300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


def read(path: Path, data: bytes, newlines: Newlines = "universal", block_bytes: int = 1 << 20) -> list[Block]:
    """Write ``data`` to ``path`` and read it as a document."""
    path.write_bytes(data)
    (source,) = find_sources([str(path)])
    return list(read_blocks(source, newlines, block_bytes))


def looks_like_text(text: str) -> bool:
    """A second NUL in the head may be taken for binary data; one never is."""
    return text.encode()[:4096].count(0) < 2


def python_text(path: Path, newline: str | None) -> str:
    """The file as Python's own text mode reads it."""
    with path.open(encoding="utf-8", newline=newline) as file:
        return file.read()


def joined(blocks: list[Block]) -> str:
    return "".join(block.text for block in blocks)


# --- cuts -----------------------------------------------------------------------------------------


@given(text=adversarial_text, block_bytes=block_sizes)
def test_blocks_join_to_the_bytes_of_the_file(folder: Path, text: str, block_bytes: int) -> None:
    """Whatever the block size, the blocks' raw bytes follow each other without loss and make up the file."""
    assume(looks_like_text(text))
    text = "a" + text  # so that no mark is dropped and no block is without text

    blocks = read(folder / "joined.txt", text.encode(), block_bytes=block_bytes)

    assert b"".join(block.raw for block in blocks) == text.encode()
    lengths = [len(block.raw) for block in blocks]
    assert [block.offset for block in blocks] == [0, *itertools.accumulate(lengths)][: len(blocks)]


@given(text=adversarial_text, block_bytes=block_sizes)
def test_every_cut_is_safe(folder: Path, text: str, block_bytes: int) -> None:
    """Each cut stands between a letter or digit and ASCII white space."""
    assume(looks_like_text(text))

    blocks = read(folder / "cuts.txt", b"a " + text.encode(), block_bytes=block_bytes)

    for left, right in itertools.pairwise(blocks):
        assert ord(left.raw.decode()[-1]) in IS_LETTER
        assert right.raw.decode()[0] in BEHIND


@given(text=adversarial_text, newlines=st.sampled_from(("universal", "keep")), block_bytes=block_sizes)
def test_a_document_begins_once(folder: Path, text: str, newlines: Newlines, block_bytes: int) -> None:
    """Of a text's blocks the first, and no other, begins a document; none is empty, and the source counts one."""
    assume(looks_like_text(text))

    blocks = read(folder / "first.txt", b"a " + text.encode(), newlines, block_bytes)

    assert [block.first for block in blocks] == [True] + [False] * (len(blocks) - 1)
    assert all(block.data for block in blocks)
    assert {(block.source.n_documents, block.seams, block.place) for block in blocks} == {(1, 0, "")}


def test_small_blocks_are_cut_at_every_word(tmp_path: Path) -> None:
    """Text is cut as soon as it can be: with one-byte reads, before each space that follows a word."""
    blocks = read(tmp_path / "words.txt", b"I HAD always\tthought - so\r\nit is", block_bytes=1)

    assert [block.raw for block in blocks] == [b"I", b" HAD", b" always", b"\tthought", b" - so", b"\r\nit", b" is"]


@pytest.mark.parametrize("size", [1, 4095, 4096])
def test_a_small_file_is_one_block(size: int, tmp_path: Path) -> None:
    """What is read at once is not cut: each block costs a call."""
    data = (b"word " * size)[:size]

    blocks = read(tmp_path / "small.txt", data)

    assert [block.raw for block in blocks] == [data]


@given(
    text=st.text("a1Z.\u00d7\u00e9\u0436\u05d0\u0639\u0915\u0301\u4e2d\u5b57\u30fb\u30a2\ud55c" + BEHIND, max_size=40)
)
def test_last_safe_cut_is_the_last_one(text: str) -> None:
    """The position found is the largest at which a letter or digit stands before a space or stop, or 0."""
    places = [k for k in range(1, len(text)) if ord(text[k - 1]) in IS_LETTER and text[k] in BEHIND]

    assert last_safe_cut(text.encode()) == len(text[: max(places, default=0)].encode())


def test_the_letters_are_these() -> None:
    """Of all code points, text may be cut behind exactly the listed ones, each a letter or digit."""
    every = (code for code in range(0x110000) if not 0xD800 <= code < 0xE000)

    found = [code for code in every if last_safe_cut(f"{chr(code)} ".encode())]

    assert found == sorted(LETTERS)
    assert {unicodedata.category(chr(code))[0] for code in LETTERS} == {"L", "N"}


@pytest.mark.parametrize(
    ("before", "step"),
    [
        *((before, 197) for before in ("", " ", "a", "7", "'", ".", "\u3002", "\n")),
        pytest.param("", 1, marks=pytest.mark.slow),
    ],
)
def test_a_cut_changes_no_id_behind_any_letter(before: str, step: int) -> None:
    """Behind each letter, before each space or stop, the two sides encoded apart give the ids of the whole."""
    for name in ("r50k_base", "p50k_base", "cl100k_base", "o200k_base"):
        encode = partial(tiktoken_encoding(name).encode, disallowed_special=())
        for behind in BEHIND:
            for code in LETTERS[::step]:
                left, right = before + chr(code), behind + " 've"
                assert encode(left) + encode(right) == encode(left + right), (name, left, right)


def test_second_cuts_are_these() -> None:
    """A second cut stands between an ASCII letter or digit and ASCII punctuation, but for three signs."""
    every = list(map(chr, range(128)))
    places = {
        (left, right) for left in every for right in every if last_safe_cut(f"{left}{right}".encode(), SECOND_CUT)
    }

    assert places == {(left, right) for left in every if left.isalnum() for right in SECOND}
    assert not last_safe_cut("\u00e9,\u4e2d,".encode(), SECOND_CUT)


@pytest.mark.parametrize("encoding", ["r50k_base", "p50k_base", "cl100k_base", "o200k_base"])
def test_a_second_cut_changes_no_id(encoding: str) -> None:
    """At each of them, whatever stands around, the two sides encoded apart give the ids of the whole."""
    encode = partial(tiktoken_encoding(encoding).encode, disallowed_special=())
    around = [
        ("", ""),
        (" ", "'ve"),
        ("it'", "s x"),
        ("a", "\r\n"),
        ("7", "7"),
        (".", "/\n"),
        ("\n", "\u4e2d"),
        ("'l", "l"),
    ]

    for letter in (letter for letter in map(chr, range(128)) if letter.isalnum()):
        for sign in SECOND:
            for before, behind in around:
                left, right = before + letter, sign + behind
                assert encode(left) + encode(right) == encode(left + right), (left, right)


def test_no_special_token_holds_a_second_cut(vocab_dir: Path) -> None:
    """Of all that tiktoken knows: a cut inside one would make text of it."""
    names = tiktoken.list_encoding_names()
    known = {token for name in names for token in load_vocabulary(name, str(vocab_dir)).special_tokens}

    assert "<|endoftext|>" in known
    assert len(known) > 10
    assert [token for token in known if last_safe_cut(token.encode(), SECOND_CUT)] == []


@pytest.mark.parametrize("distance", [0, 1, 4094, 4095, 4096, 4097, 65_535, 65_536, 65_537, 2_000_000])
def test_last_safe_cut_is_found_however_far_back(distance: int) -> None:
    """The search widens until it finds the cut, also where the cut lies across the edge of a search."""
    assert last_safe_cut(b"one two " + b"." * distance) == 7


# --- newlines and the byte order mark -------------------------------------------------------------


@given(text=adversarial_text, block_bytes=block_sizes)
def test_universal_newlines_are_pythons(folder: Path, text: str, block_bytes: int) -> None:
    """``universal`` gives the text that Python's own text mode gives, for any block size."""
    assume(looks_like_text(text) and not text.startswith("\ufeff"))
    path = folder / "universal.txt"

    blocks = read(path, text.encode(), "universal", block_bytes)

    assert joined(blocks) == python_text(path, newline=None)


@given(text=adversarial_text, block_bytes=block_sizes)
def test_kept_newlines_are_untouched(folder: Path, text: str, block_bytes: int) -> None:
    """``keep`` gives the text that Python gives with ``newline=""``, for any block size."""
    assume(looks_like_text(text) and not text.startswith("\ufeff"))
    path = folder / "keep.txt"

    blocks = read(path, text.encode(), "keep", block_bytes)

    assert joined(blocks) == python_text(path, newline="")


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 4, 1 << 20])
def test_a_byte_order_mark_is_dropped_once(tmp_path: Path, block_bytes: int) -> None:
    """The mark at the start is dropped and noted; a second one, and one further on, are text."""
    path = tmp_path / "bom.txt"
    path.write_bytes(codecs.BOM_UTF8 + "\ufeffone \ufefftwo".encode())
    (source,) = find_sources([str(path)])

    text = joined(list(read_blocks(source, "universal", block_bytes)))

    assert text == "\ufeffone \ufefftwo"
    assert source.bom


def test_a_lone_mark_is_an_empty_document(tmp_path: Path) -> None:
    """A file that holds nothing but the mark yields no block, and is no document."""
    path = tmp_path / "bom.txt"
    path.write_bytes(codecs.BOM_UTF8)
    (source,) = find_sources([str(path)])

    assert list(read_blocks(source)) == []
    assert (source.n_documents, source.n_chars, source.n_bytes, source.bom) == (0, 0, 3, True)


def test_no_mark_is_noted_where_there_is_none(tmp_path: Path) -> None:
    """A mark that does not stand at the start is not taken for one."""
    (block,) = read(tmp_path / "plain.txt", "a\ufeffb".encode())

    assert block.text == "a\ufeffb"
    assert not block.source.bom


# --- strict decoding ------------------------------------------------------------------------------


@given(text=adversarial_text, bad=st.sampled_from([0x80, 0xBF, 0xC0, 0xE2, 0xF5, 0xFF]), data=st.data())
def test_a_bad_byte_is_named_with_its_offset(folder: Path, text: str, bad: int, data: st.DataObject) -> None:
    """Wherever a bad byte stands and however the file is cut, the error gives the offset from the file's start."""
    assume(looks_like_text(text))
    good = b"a" + text.encode()
    place = data.draw(st.integers(0, len(good)), label="place")
    broken = good[:place] + bytes([bad]) + good[place:]
    with pytest.raises(UnicodeDecodeError) as expected:
        broken.decode()

    with pytest.raises(DataError) as raised:
        read(folder / "broken.txt", broken, block_bytes=data.draw(block_sizes, label="block_bytes"))

    start = expected.value.start
    assert f"not valid UTF-8 at byte {start} (0x{broken[start]:02x});" in str(raised.value)


@pytest.mark.parametrize("block_bytes", [1, 2, 5, 1 << 20])
def test_offsets_count_the_mark_and_the_carriage_returns(tmp_path: Path, block_bytes: int) -> None:
    """The offset is in bytes of the file, so a dropped mark and changed newlines count."""
    with pytest.raises(DataError, match=r"at byte 12 \(0x92\)"):
        read(tmp_path / "windows.txt", codecs.BOM_UTF8 + b"one\r\ntwo \x92three", block_bytes=block_bytes)
    with pytest.raises(DataError, match=r"at byte 4 \(0x92\)"):
        read(tmp_path / "windows.txt", codecs.BOM_UTF8 + b"a\x92 one", block_bytes=block_bytes)


@pytest.mark.parametrize("block_bytes", [1, 4, 1 << 20])
def test_a_cut_last_character_is_an_error(tmp_path: Path, block_bytes: int) -> None:
    """A file that ends inside a character is not valid, and the error names that character's first byte."""
    with pytest.raises(DataError, match=r"at byte 5 \(0xe6\)"):
        read(tmp_path / "short.txt", b"word " + "\u65e5".encode()[:2], block_bytes=block_bytes)


def test_text_before_a_bad_byte_is_yielded(tmp_path: Path) -> None:
    """Blocks come as they are read: what stands before the error has been yielded already."""
    path = tmp_path / "late.txt"
    path.write_bytes(b"one two three\xff")
    (source,) = find_sources([str(path)])
    blocks = read_blocks(source, "universal", 4)

    assert next(blocks).text == "one"
    with pytest.raises(DataError, match="at byte 13"):
        list(blocks)


# --- what is no text ------------------------------------------------------------------------------

SAMPLE = "It is not UTF-8, though it is text. " * 40


@pytest.mark.parametrize(
    ("data", "what"),
    [
        pytest.param(codecs.BOM_UTF16_LE + SAMPLE.encode("utf-16-le"), "UTF-16 text (little-endian)", id="utf-16-le"),
        pytest.param(codecs.BOM_UTF16_BE + SAMPLE.encode("utf-16-be"), "UTF-16 text (big-endian)", id="utf-16-be"),
        pytest.param(codecs.BOM_UTF32_LE + SAMPLE.encode("utf-32-le"), "UTF-32 text (little-endian)", id="utf-32-le"),
        pytest.param(codecs.BOM_UTF32_BE + SAMPLE.encode("utf-32-be"), "UTF-32 text (big-endian)", id="utf-32-be"),
        pytest.param(SAMPLE.encode("utf-16-le"), "UTF-16 text (little-endian, without a mark)", id="16-le-bare"),
        pytest.param(SAMPLE.encode("utf-16-be"), "UTF-16 text (big-endian, without a mark)", id="16-be-bare"),
        pytest.param(SAMPLE.encode("utf-32-le"), "UTF-32 text (little-endian, without a mark)", id="32-le-bare"),
        pytest.param(SAMPLE.encode("utf-32-be"), "UTF-32 text (big-endian, without a mark)", id="32-be-bare"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "a PNG image", id="png"),
        pytest.param(b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG image", id="jpeg"),
        pytest.param(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "a PDF document", id="pdf"),
        pytest.param(b"PK\x03\x04rest of a zip", "a zip archive", id="zip"),
        pytest.param(b"PAR1\x15\x04", "a Parquet file", id="parquet"),
        pytest.param(b"\x00" * 257 + b"ustar\x0000", "a tar archive", id="tar"),
        pytest.param(b"\x7fELF\x02\x01", "a program", id="elf"),
        pytest.param(b"SQLite format 3\x00", "an SQLite database", id="sqlite"),
        pytest.param(b"\x00\x01\x02\x03" * 100, "binary data (100 NUL bytes near its start)", id="nuls"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, data: bytes, what: str) -> None:
    """A file of another kind is refused with what it looks like, not with the offset of its first odd byte."""
    with pytest.raises(DataError) as raised:
        read(tmp_path / "other.txt", data)

    assert f"looks like {what}, not UTF-8 text" in str(raised.value)


def zstandard(data: bytes) -> bytes:
    """Compress with the standard library's zstd (Python 3.14), else its backport."""
    packed: bytes = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd").compress(
        data
    )
    return packed


PACKS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstandard": zstandard,
}


@pytest.mark.parametrize("kind", PACKS)
def test_what_is_no_text_is_named_in_compressed_data_too(tmp_path: Path, kind: str) -> None:
    """Compressed bytes are looked at as others are: a kind of file is named, a bad byte with its offset in the text."""
    with pytest.raises(DataError, match="looks like a PDF document, not UTF-8 text"):
        read(tmp_path / "pdf.txt", PACKS[kind](b"%PDF-1.7\n1 0 obj\n"))
    with pytest.raises(DataError, match=r"not valid UTF-8 at byte 4 \(0x92\)"):
        read(tmp_path / "bad.txt", PACKS[kind](b"one \x92two"), block_bytes=2)


@pytest.mark.parametrize(
    "text",
    [
        "PAR1 is a receptor of thrombin, and PAR1 antagonists are drugs.",
        "PAR1",
        "%PDF-1.7 is how a PDF begins.\nMore text.\n",
        "%PDF- marks one",
        "GIF89a is a format of images.",
        "PAR1 \u2014 a receptor of thrombin",
        "PAR1\u4e2d\u6587",
        "%PDF-1.7\n% \u00dcbersicht\n",
        "%PDF-1.7\nis followed by objects, such as 1 0 obj.",
        "BZh91 is how bzip2 begins.",
        "BZh91AY&SY is how a block begins.",
        "word " * 51 + "z ustar is a format",
        "Rar! cried the lion.",
        "7z is a program",
        "LZIP is one too",
        "SQLite format 3 is what it says.",
    ],
)
def test_a_text_that_begins_like_something_else_is_a_text(text: str, tmp_path: Path) -> None:
    """What a text may begin with too is not enough: more is asked for of what a real one has."""
    assert "".join(block.text for block in read(tmp_path / "a.txt", text.encode())) == text


def test_packed_data_in_packed_data_is_told(tmp_path: Path) -> None:
    """What is still compressed after one round is named, whatever it is."""
    for kind, pack in PACKS.items():
        with pytest.raises(DataError, match=f"looks like {kind} data inside compressed data"):
            read(tmp_path / "a.txt", gzip.compress(pack(b"one two three")))


def test_a_pt_file_among_texts_is_told_as_one(tmp_path: Path, call: Call) -> None:
    """A tokens file goes alone; with others, the error says so."""
    (tmp_path / "a.txt").write_text("one two three")
    assert call("tokenize", "a.txt").code == 0

    for others in (["a.txt"], ["a.tokens.pt"]):
        ended = call("tokenize", "a.tokens.pt", *others, "-o", "x.pt")
        assert ended.code == 3
        assert "looks like a .pt file, not UTF-8 text; give one alone" in ended.notes[-1]


def test_a_text_named_as_a_pt_file_is_refused(tmp_path: Path) -> None:
    """A file whose name says .pt and whose bytes do not is taken for a damaged one, not for a text."""
    with pytest.raises(FileFormatError, match=r"story\.pt: not a \.pt file"):
        read(tmp_path / "story.pt", b"one two")


def test_one_nul_is_text(tmp_path: Path) -> None:
    """A single NUL stays in the text, even in a short one."""
    assert joined(read(tmp_path / "nul.txt", b"a\x00b")) == "a\x00b"


def test_a_few_nuls_in_much_text_are_text(tmp_path: Path) -> None:
    """NULs are only taken for a sign of binary data where they are many."""
    data = (b"word " * 40 + b"\x00") * 20

    assert joined(read(tmp_path / "nuls.txt", data)).count("\x00") == 20


# --- text that cannot be cut ----------------------------------------------------------------------


def test_text_without_a_cut_is_one_block(tmp_path: Path) -> None:
    """Text with no safe place grows into one block, however small the blocks are."""
    text = "\u2026\u2026\n" * 1000

    assert [block.text for block in read(tmp_path / "uncut.txt", text.encode(), block_bytes=10)] == [text]


def test_long_text_without_a_safe_cut_is_cut_at_second_ones(tmp_path: Path) -> None:
    """Compact JSON in a text becomes blocks of bounded size, each but the last with a second cut at its end."""
    data = b"[" + b",".join(b'{"id":%d,"of":[%d,7]}' % (k, k * k) for k in range(200_000)) + b"]"

    blocks = [block.raw for block in read(tmp_path / "compact.txt", data)]

    assert b"".join(blocks) == data
    assert max(map(len, blocks)) < 2 * BLOCK_BYTES
    assert all(last_safe_cut(left[-1:] + right[:1], SECOND_CUT) for left, right in itertools.pairwise(blocks))


def test_growth_ends_at_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the cap the error says how much stands uncut and where it begins."""
    monkeypatch.setattr(blocks_room, "MAX_UNCUT_BYTES", 1000)

    with pytest.raises(DataError, match=r"1\d\d\d bytes from byte 3 on without a letter or digit before white space"):
        read(tmp_path / "capped.txt", b"one " + b"." * 5000, block_bytes=100)


def test_the_cap_is_on_one_stretch_and_not_on_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file much longer than the cap is read as long as each stretch between two cuts is shorter."""
    monkeypatch.setattr(blocks_room, "MAX_UNCUT_BYTES", 1000)
    data = (b"." * 700 + b"a ") * 20

    assert b"".join(block.raw for block in read(tmp_path / "long.txt", data, block_bytes=100)) == data


def test_growth_takes_linear_time(tmp_path: Path) -> None:
    """Four times the uncut text takes about four times as long, not sixteen times."""

    def seconds(n_bytes: int) -> float:
        path = tmp_path / "uncut.txt"
        path.write_bytes(b"." * n_bytes)
        sources = [find_sources([str(path)])[0] for _ in range(3)]
        begun = [time.perf_counter()]
        for source in sources:
            assert sum(len(block.text) for block in read_blocks(source, "universal", 1024)) == n_bytes
            begun.append(time.perf_counter())
        return min(end - start for start, end in itertools.pairwise(begun))

    ratios = (seconds(8 << 20) / seconds(2 << 20) for _ in range(3))

    assert any(ratio < 9 for ratio in ratios)


# --- sources --------------------------------------------------------------------------------------


@given(text=adversarial_text, block_bytes=block_sizes)
def test_a_source_ends_with_its_figures(folder: Path, text: str, block_bytes: int) -> None:
    """After reading, size and hash are those of the bytes, and the characters those of the text that was yielded."""
    assume(looks_like_text(text))
    path = folder / "figures.txt"
    path.write_bytes(text.encode())
    (source,) = find_sources([str(path)])

    n_chars = len(joined(list(read_blocks(source, "universal", block_bytes))))

    assert source.n_bytes == len(text.encode())
    assert source.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert source.n_chars == n_chars
    assert source.n_documents == (n_chars > 0)


def test_a_name_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    """The name is the path's last part; bytes in it that are no UTF-8 are written out."""
    odd = os.fsdecode(os.fsencode(tmp_path / "caf") + b"\xe9.txt")
    Path(odd).write_text("text")

    (source,) = find_sources([odd])

    assert source.name == "caf\\xe9.txt"
    assert source.path == odd


def test_a_look_at_the_head_takes_nothing(tmp_path: Path) -> None:
    """What was peeked at is still read."""
    path = tmp_path / "peeked.txt"
    path.write_bytes(b"one two")
    (source,) = find_sources([str(path)])

    assert peek(source, 3) == b"one"
    assert source.n_bytes == 0
    assert joined(list(read_blocks(source))) == "one two"
    assert source.n_bytes == 7


def test_all_paths_are_checked_before_any_is_read(tmp_path: Path) -> None:
    """A missing path is an error although another one is there."""
    (tmp_path / "there.txt").write_text("text")

    with pytest.raises(InputError, match=r"gone\.txt: no such file"):
        find_sources([str(tmp_path / "there.txt"), str(tmp_path / "gone.txt")])


@pytest.mark.parametrize("path", ["loop", "dangling", "nul\0"])
def test_a_path_that_leads_nowhere_is_named(tmp_path: Path, path: str) -> None:
    """A link to itself, a link to nothing and an impossible name are each an error that begins with the path."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")

    with pytest.raises(InputError) as raised:
        find_sources([str(tmp_path / path)])

    assert str(raised.value).startswith(f"{tmp_path / path}: ")


def test_standard_input_is_named_once() -> None:
    """``-`` twice is refused: the second reading would find nothing."""
    with pytest.raises(UsageError, match="only once"):
        find_sources(["-", "-"])


def test_standard_input_is_a_document(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``-`` reads standard input and is called ``-``."""
    path = tmp_path / "piped"
    path.write_bytes(b"one two")
    with path.open("rb") as file, io.TextIOWrapper(file) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        (source,) = find_sources(["-"])

        text = joined(list(read_blocks(source)))

    assert (source.name, text) == ("-", "one two")


def test_a_closed_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """``-`` without a standard input is one clear error."""
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(InputError, match="standard input is closed"):
        find_sources(["-"])


@pytest.mark.parametrize("change", [b"one two three", b"one", b"two one"])
def test_a_file_that_changes_while_read_is_an_error(tmp_path: Path, change: bytes) -> None:
    """A file that grows, shrinks or is rewritten between the first block and the last is not read as a mixture."""
    path = tmp_path / "moving.txt"
    path.write_bytes(b"one two")
    os.utime(path, (0, 0))
    (source,) = find_sources([str(path)])
    blocks = read_blocks(source, "universal", 4)
    next(blocks)
    path.write_bytes(change)

    with pytest.raises(InputError, match="changed while it was read"):
        list(blocks)


def test_an_unread_source_has_no_figures() -> None:
    """A source begins with nothing read."""
    source = Source("story.txt", "story.txt")

    assert (source.n_bytes, source.n_chars, source.n_tokens, source.n_documents) == (0, 0, 0, 0)
    assert (source.size, source.format, source.sha256, source.bom, source.stream) == (None, "text", "", False, None)
