"""Promises of every fast path: it gives what the general path gives, which is the slow, obvious one, with less work."""

import functools
import gzip
import io
import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import reference
from support.reference import encode
from support.stores import SMALL, write_files
from support.strategies import PIECES, adversarial_text, window_shapes
from support.streams import sha256, text_block
from torch import Tensor
from torch.nn import Embedding
from torch.utils.data import DataLoader, TensorDataset

from llmprep.choices import BackendName, DrawOrder, Effort, FloatDtype, IdDtype, TextOptions
from llmprep.documents.blocks import SMALL_BYTES
from llmprep.documents.cuts import find_safe_cut
from llmprep.documents.finding import find_sources
from llmprep.documents.parquet import cell_texts
from llmprep.documents.quick_json import find_text
from llmprep.documents.source import BOM, Source
from llmprep.errors import DataError, LlmprepError
from llmprep.formats.ids import Array
from llmprep.formats.windows import KEYS, WindowOptions, write_windows
from llmprep.pytorch import embedded
from llmprep.pytorch.embedding import Drawing, EmbeddingOptions, create_tables, find_sizes
from llmprep.pytorch.loaders import create_row_loader
from llmprep.tokens import content
from llmprep.tokens.backends import Encoder
from llmprep.tokens.content import ContentHash, open_pool
from llmprep.tokens.figures import Figures
from llmprep.tokens.stream import Origin, TokenStream, count_tokens, stream_part
from llmprep.tokens.unicode17 import NEW_CODE_POINTS, find_new_code_points, split_at_new
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.references import Reference

NEW = {code for low, high in NEW_CODE_POINTS for code in range(low, high + 1)}
text_with_new = st.lists(
    adversarial_text | st.sampled_from(["x " * 3000, " word", "\u4e2d\u3002", *map(chr, sorted(NEW)[::400])]),
    max_size=12,
).map("".join)
"""Text with code points on which the backends differ, some of them far apart."""


@given(text_with_new)
def test_only_what_is_near_a_new_code_point_is_left_to_tiktoken(text: str) -> None:
    """The parts are the text, cut at safe places alone, and no part for gigatoken holds a new code point."""
    data = text.encode()
    parts = [*split_at_new(data)]
    assert b"".join(part for part, _ in parts) == data
    assert all(new or not NEW.intersection(map(ord, part.decode())) for part, new in parts)
    assert [len(text[:k].encode()) for k, char in enumerate(text) if ord(char) in NEW] == [*find_new_code_points(data)]
    place = 0
    for part, _ in parts[:-1]:
        place += len(part)
        assert find_safe_cut(data, place) == place


@given(text=text_with_new | st.lists(st.sampled_from([*PIECES, "'\u017f", "e"])).map("".join))
@pytest.mark.parametrize(("encoding", "backend"), [("gpt2", "gigatoken"), ("cl100k_base", "fastokens")])
def test_backends_and_tiktoken(encoding: str, backend: BackendName, vocab_dir: Path, text: str) -> None:
    """A fast backend, with tiktoken for what it is not given, gives the ids that tiktoken gives for the whole text."""
    encoder = fast_encoder(encoding, backend, vocab_dir)
    assert encoder.encode(text_block(text)).tolist() == encode(text, encoding)


@functools.cache
def fast_encoder(encoding: str, backend: BackendName, vocab_dir: Path) -> Encoder:
    """An encoder that takes long to build."""
    return Encoder(load_vocabulary(encoding, vocab_dir), "allow", backend)


names = st.sampled_from(["text", "te", "\u4e2d", 'te"xt', "te\\xt"])
strings = names | st.text(max_size=9) | st.sampled_from(['say "text": ', "\\", '\\"', "\n", "\ud800", '{"text": "x"}'])
values = st.recursive(
    strings | st.integers() | st.none() | st.floats(),
    lambda inner: st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
pieces = st.sampled_from(
    [b'"text": "x", ', b'"te\\u0078t": "y", ', b'"', b"\\", b"\\u0041", b"\xff", b"\x01", b"\t", b"}", b" "]
)


@st.composite
def lines_of_json(draw: st.DrawFn) -> bytes:
    """A record as several writers would write it, often with a piece in it that does not belong there."""
    record = {**draw(st.dictionaries(names, values, max_size=2)), "text": draw(strings), "url": draw(values)}
    line = json.dumps(record, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 0])))
    data = line.encode("utf-8", "surrogatepass")
    place = draw(st.integers(0, len(data)) | st.just(1))
    return data[:place] + draw(st.just(b"") | pieces) + data[place:]


def text_by_json(line: bytes) -> str | None:
    """The text of a line the slow way; None where it has none, or its field twice."""
    twice: list[bool] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.append([key for key, _ in pairs].count("text") > 1)
        return dict(pairs)

    try:
        record = json.loads(line.decode(), object_pairs_hook=note)
        text = record["text"] if isinstance(record, dict) and not twice[-1] else None
        return text if isinstance(text, str) and text.encode() is not None else None
    except (ValueError, LookupError):
        return None


@settings(max_examples=300)
@given(lines_of_json())
@example(b'{"text": "a", "te\\u0078t": "b"}')
@example(b'{"a": "text", "text": "b"}')
def test_json_by_orjson_and_by_json(line: bytes) -> None:
    """What is found among the bytes of a line is its text, and it is found where nothing is unusual."""
    found, expected = find_text(line, "text"), text_by_json(line)
    assert found is None or (found[0].decode(), found[1]) == (expected, len(expected or ""))


def test_usual_lines_are_read_by_orjson() -> None:
    """What writers of JSON Lines write is not left to `json`."""
    for line in ('{"text":"a"}', '{"id": 1, "text": "say \\\\ \\"x\\"\u00e9", "title": "\\"b\\"", "n": {"m": [1]}}\r'):
        text = json.loads(line)["text"]
        assert find_text(line.encode(), "text") == (text.encode(), len(text))
    assert find_text(b'{"a\\/b": "one", "a/b": "two"}', "a/b") is None


@given(shape=window_shapes, dtype=st.sampled_from(get_args(IdDtype)))
def test_views_and_dense_windows(shape: tuple[int, int, int], dtype: str) -> None:
    """Windows that share one storage, and those written row by row, are the textbook loop's."""
    n_tokens, max_length, stride = shape
    ids = np.arange(n_tokens, dtype=np.uint32) * 31 % 50_257
    expected = reference.window_rows(ids.tolist(), max_length, stride)
    for dense in (False, True) if expected[0] else ():
        figures = Figures(records=[])
        stream = TokenStream(
            Origin("t", Reference("gpt2"), "", 50_257, {}), count_tokens(iter([ids[:7], ids[7:]]), figures), figures
        )
        write_windows(sink := io.BytesIO(), stream, WindowOptions(max_length, stride, dtype, dense))
        held = torch.load(io.BytesIO(sink.getvalue()), weights_only=True)
        assert [held[key].tolist() for key in KEYS] == [*expected]


@given(text=adversarial_text.filter(lambda text: "\x00" not in text), cuts=st.lists(st.integers(0, 400), max_size=4))
def test_spans_and_whole_files(text: str, cuts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    """The spans of a file, each read alone, wherever their nominal ends are, give the ids of the whole file."""
    path = tmp_path_factory.getbasetemp() / "spans.txt"
    path.write_bytes(text.encode())
    (whole,) = find_sources([str(path)])
    size = len(text.encode())
    ends = sorted({min(cut, size) for cut in cuts} | {size})
    spans = [replace(whole, span=(start, end)) for start, end in zip([0, *ends], ends, strict=False)]
    encoder, options, effort = Encoder(SMALL, "allow", "tiktoken"), TextOptions("keep"), Effort("tiktoken", 1, 50)
    streams = [stream_part([span], options, effort, encoder, continues=True) for span in spans if text]
    found = [block.tolist() for stream in streams for block in stream]
    apart = list(itertools.chain.from_iterable(found))
    assert apart == [
        i for block in stream_part([whole], options, effort, encoder, continues=True) for i in block.tolist()
    ]


@given(st.data(), st.lists(st.integers(0, 12), max_size=12), st.sampled_from([1, 3]))
def test_the_hash_is_of_the_ids_alone(data: st.DataObject, lengths: list[int], n_threads: int) -> None:
    """Blocks of any sizes and dtypes, hashed by any number of threads, have the hash of the leaves one by one."""
    ids = np.arange(sum(lengths), dtype=np.int64) * 7 % 65_536
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "LEAF_IDS", 5)
        with open_pool(n_threads) as pool:
            hashed = ContentHash(pool)
            for end, length in zip(np.cumsum(lengths).tolist(), lengths, strict=True):
                hashed.update(ids[end - length : end].astype(data.draw(st.sampled_from(["u2", "<u4", "i4", "i8"]))))
            found = hashed.hexdigest()
    leaves = [sha256(ids[k : k + 5].astype("<u4").tobytes()) for k in range(0, len(ids), 5)]
    assert found == sha256(b"".join(map(bytes.fromhex, leaves)))


ENCODER = Encoder(SMALL, "allow", "tiktoken")


ODD = [
    b"", BOM, BOM + b"marked", b"a\r\nb\r", b"an <|endoftext|> in it", b"<|", b'{"a": 1}\n', b' {"a": 1, "b"',
    b"caf\xe9", b"a\0b", b"\0\0", b"\xff\xfea\0", b"BZh91AY&SY", b"\x1f\x8b\x08", b"PK\x03\x04",
    b"%PDF-1.4\n%\xe2\xe3\xcf\xd3",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", b"/annex/objects/MD5-s0--a\n", b"7z",
    gzip.compress(b"packed", mtime=0), "\u00e9\u4e2d\n".encode() * 99,
]  # fmt: skip


LARGE = [b"xy " * (SMALL_BYTES // 3), b"xy " * SMALL_BYTES]


contents = st.sampled_from(ODD) | st.tuples(st.sampled_from(ODD), st.sampled_from(ODD)).map(b"".join)


files = st.tuples(contents | adversarial_text.map(str.encode), st.sampled_from([".txt", ".txt.gz", ".pt", ".md"]))


def outcome(groups: list[list[Source]], options: TextOptions, effort: Effort) -> tuple[list[int], list[object], str]:
    """The ids, counts and error of sources as one stream, a group read at a time."""
    ids: list[int] = []
    counted: list[object] = []
    try:
        for group in groups:
            stream = stream_part(group, options, effort, ENCODER, continues=bool(ids))
            for block in stream:
                ids += block.tolist()
            counted += map(asdict, stream.figures.counts)
    except LlmprepError as error:
        return ids, [], str(error)
    return ids, counted, ""


@settings(max_examples=50, deadline=None)
@given(files=st.lists(files, min_size=2, max_size=6), block_bytes=st.sampled_from([1, 40, 1 << 20]), keep=st.booleans())
@example(files=[(each, ".txt") for each in (*LARGE, b"end")], block_bytes=1 << 20, keep=True)
@example(files=[(each, ".txt") for each in ODD], block_bytes=1 << 20, keep=True)
def test_files_give_together_what_each_gives_alone(
    files: list[tuple[bytes, str]], block_bytes: int, keep: bool
) -> None:
    """Ids, counts, hashes, remarks and the first error are those of the files one by one, in blocks of any size."""
    with tempfile.TemporaryDirectory() as folder:
        named = {f"{number}{suffix}": data for number, (data, suffix) in enumerate([(b"begin", ".txt"), *files])}
        paths = write_files(Path(folder), named)
        sources = [Source(path, name, len(named[name])) for path, name in zip(paths, named, strict=True)]
        options, effort = TextOptions("keep" if keep else "universal"), Effort("tiktoken", 1, block_bytes)
        assert outcome([sources], options, effort) == outcome([[each] for each in sources], options, effort)


SPECIAL = torch.tensor([0.0, -0.0, 1e-45, -1e-40, 65519.0, 65520.0, 3.4e38, -3.4e38, float("inf"), float("nan"), 1 / 3])


OPTIONS = st.fixed_dictionaries(
    {
        "dim": st.integers(1, 70),
        "context_length": st.integers(9, 12),
        "batch_size": st.integers(1, 7),
        "batches": st.none() | st.integers(1, 9),
        "drop_last": st.booleans(),
        "dtype": st.sampled_from(get_args(FloatDtype)),
    }
)


def make_special(table: Embedding) -> None:
    """Put numbers that are hard to add or to round into a table, the same for the same sizes."""
    flat = table.weight.data.view(-1)
    flat[::3] = SPECIAL.repeat(len(flat))[: len(flat[::3])]


def by_the_course(rows: Array, n_vocab: int, options: dict[str, Any], drawing: Drawing) -> Iterator[Tensor]:
    """Each batch by the notebooks' lines, in either order, with torch's own loader of single rows."""
    torch.manual_seed(drawing.seed)
    dim, context_length, dtype = options["dim"], options["context_length"], getattr(torch, options["dtype"])
    if drawing.order == "ch02":
        Embedding(6, 3)
    token, position = Embedding(n_vocab, dim), None
    if drawing.order == "dataloader":
        position = Embedding(context_length, dim)
    loader = DataLoader(
        TensorDataset(torch.from_numpy(rows)),
        options["batch_size"],
        shuffle=drawing.shuffle,
        drop_last=options["drop_last"],
    )
    for (batch,) in itertools.islice(loader, options["batches"]):
        position = position or Embedding(context_length, dim)
        make_special(token)
        make_special(position)
        yield (token(batch) + position(torch.arange(batch.shape[1]))).to(dtype).detach()


@pytest.mark.parametrize("compute", [embedded.embed_on_cpu, embedded.embed_on_device])
@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(7, 40), st.integers(1, 9)),
    options=OPTIONS,
    drawing=st.builds(Drawing, st.integers(0, 9), st.sampled_from(get_args(DrawOrder)), st.booleans()),
    block=st.tuples(st.integers(1, 9000), st.integers(3, 99)),
)
def test_blocks_are_the_courses_batches(
    compute: Any, shape: tuple[int, int], options: dict[str, Any], drawing: Drawing, block: tuple[int, int]
) -> None:
    """For random sizes, dtypes, orders and blocks all bits are as torch's, zeros' signs, NaN and overflow included."""
    rows = np.random.default_rng(drawing.seed).integers(0, 50, shape)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(embedded, "BLOCK_BYTES", block[0])
        patched.setattr(embedded, "IDS_AT_ONCE", block[1])
        patched.setattr(embedded, "SERIAL", 64)
        sizes = find_sizes(shape, 50, options=EmbeddingOptions(**options))
        at_once = embedded.windows_at_once(shape[1])
        loader = create_row_loader(rows, batch_size=at_once, shuffle=drawing.shuffle)
        tables, batches = create_tables(sizes, loader, drawing)
        make_special(tables.token)
        make_special(tables.position)
        pieces = embedded.cut_batches(batches, options["dim"])
        ours = [bytes(part) for part in compute(pieces, tables, getattr(torch, options["dtype"]))]
    theirs = torch.cat(list(by_the_course(rows, 50, options, drawing)))
    assert b"".join(ours) == theirs.view(torch.uint8).numpy().tobytes()
    assert max(map(len, ours)) <= max(block[0], 4 * options["dim"])
    assert sizes.shape == theirs.shape


TYPES = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view(), pa.binary_view()]
TYPES += [pa.dictionary(pa.int8(), type_) for type_ in TYPES[:3]]


@given(
    texts=st.lists(adversarial_text, max_size=12),
    type_=st.sampled_from(TYPES),
    cut=st.tuples(*[st.integers(0, 12)] * 2),
)
def test_cells_are_what_arrow_says(texts: list[str], type_: Any, cut: tuple[int, int]) -> None:
    """Of an array of any type of text, or a slice of one, each cell is as pyarrow's own way to Python gives it."""
    held = [text if "string" in str(type_) else text.encode() for text in texts]
    column = pa.array(held, type_).slice(*cut) if "dict" not in str(type_) else pa.array(held).cast(type_).slice(*cut)
    source = Source("a", "a")
    values = [value if isinstance(value, str) else value.decode() for value in column.to_pylist()]
    assert list(cell_texts(source, column, 1)) == [(text.encode(), len(text)) for text in values]
    for bad in (None, b"\xff") if "binary" in str(type_) and "dict" not in str(type_) else ():
        broken = pa.concat_arrays([column, pa.array([bad], type_)])
        with pytest.raises(DataError, match=f"^a: row {len(column) + 7}: column text is n"):
            list(cell_texts(source, broken, 7))
