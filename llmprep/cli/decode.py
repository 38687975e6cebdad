"""`decode`: ids -> their text."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmprep.choices import Reading, WhichVocabulary
from llmprep.cli.groups import Words
from llmprep.cli.options import Encoding, Eot, Pattern, SpecialTokens, TokenizerPath, VocabDir, filled, which_vocabulary
from llmprep.cli.printer import Printer
from llmprep.cli.spread import spread
from llmprep.errors import DataError, UsageError, shorten
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.ptfile.reading import PtFile
    from llmprep.tokens.decoding import Decoder, Span

IDS = re.compile(r"[-\s\d,\[\]()]*\d[\s\d,\[\]()]*", re.ASCII)
"""A word of the command line that holds ids."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which ids are decoded."""

    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID...|FILE",
            parser=filled,
            help="Ids; or a tokens or windows file, a token store or a text of ids. - is standard input.",
            show_default=False,
        ),
    ] = None
    start: Annotated[int, typer.Option("--start", metavar="INT", min=0, help="Begin with this token.")] = 0
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="Decode so many tokens. Default: all.")
    ] = None
    encoding: Encoding = None
    tokenizer: TokenizerPath = None
    pattern: Pattern = None
    special_tokens: SpecialTokens = None
    eot: Eot = None
    vocab_dir: VocabDir = None

    def which(self) -> WhichVocabulary | None:
        """Return which vocabulary was named."""
        return which_vocabulary(self.encoding, self.tokenizer, self.pattern, self.special_tokens, self.eot)

    def span(self) -> Span:
        """Return which of the ids are wanted."""
        from llmprep.tokens.decoding import Span

        return Span(self.start, self.count)


@dataclass(frozen=True, slots=True)
class Written:
    """Ids in blocks, of which the first is number ``first``, and what decodes them."""

    name: str
    blocks: Iterable[Sequence[int]]
    decoder: Decoder
    first: int = 0


@spread
def decode(asked: Asked, words: Words) -> None:
    """Turn ids back into text.

    Examples:
      llmprep decode 464 15987 20987 15810
      llmprep tokenize --ids story.txt | llmprep decode -
      llmprep decode story.tokens.pt --start 100 --count 20
    """
    from llmprep.tokens.decoding import take_ids

    printer = words.printer()
    found = _find(asked, printer)
    ids = take_ids(found.blocks, asked.span(), found.name, found.first)
    parts = found.decoder.blocks(ids, found.name, asked.start)
    if printer.as_json:
        text = b"".join(parts).decode("utf-8", "replace")
        printer.object({"command": "decode", "encoding": found.decoder.name, "text": text})
    elif printer.quiet:
        for _ in parts:
            pass
    elif printer.on_terminal:
        _show(printer, parts)
    else:
        _write(parts)


def _show(printer: Printer, parts: Iterable[bytes]) -> None:
    """Print text on a terminal, on which nothing in it acts but the ends of lines; it ends with one."""
    import codecs

    decoder, last = codecs.getincrementaldecoder("utf-8")("backslashreplace"), "\n"
    for part in chain(parts, [None]):
        text = decoder.decode(part or b"", final=part is None)
        last = text[-1:] or last
        printer.text("\n".join(map(plain.visible, text.split("\n"))))
    if last != "\n":
        printer.text("\n")


def _write(parts: Iterable[bytes]) -> None:
    """Write text as exactly its bytes."""
    from llmprep.output.checking import Output
    from llmprep.output.writing import open_output

    with open_output(Output("standard output", None, direct=True)) as sink:
        for part in parts:
            sink.write(part)


def _find(asked: Asked, printer: Printer) -> Written:
    """Return the ids that are asked for: those of the command line, or of the input that it names."""
    given = asked.given or []
    reading = Reading(asked.which(), vocab_dir=asked.vocab_dir, announce=printer.note)
    wrong = [word for word in given if not IDS.fullmatch(word)]
    if given and not wrong:
        from llmprep.tokens.written import parse_ids

        for word in given:
            if Path(word).exists():
                printer.note(f"{word}: is taken as an id; ./{word} names the file")
        return Written("ids", parse_ids(io.BytesIO(" ".join(given).encode()).read, "ids"), _decoder(reading))
    if len(given) == 1:
        return _open(given[0], asked.span(), reading)
    if not given:
        raise UsageError("Missing argument 'ID...'; give ids, a file or a store, or - for standard input")
    raise UsageError(f"{shorten(wrong[0])}: is not an id; give ids alone, or one file or store alone")


def _decoder(reading: Reading) -> Decoder:
    from llmprep.tokens.decoding import Decoder
    from llmprep.vocabulary.loading import load_vocabulary

    return Decoder.of(load_vocabulary(reading.for_text().encoding, reading.vocab_dir, reading.announce))


def _open(path: str, span: Span, reading: Reading) -> Written:
    """Open an input by its name: a store from the first token that is wanted on, all others from the front."""
    from llmprep.inputs import open_input, stream_file, stream_store
    from llmprep.ptfile.reading import PtFile
    from llmprep.store.reading import TokenStore
    from llmprep.tokens.decoding import Decoder
    from llmprep.tokens.written import read_written_ids

    blocks: Iterable[Sequence[int]]
    match open_input(path, reading):
        case TokenStore() as store:
            span.require(len(store), path)
            origin, first = stream_store(store, reading).origin, span.start
            blocks = (block.tolist() for block in store.blocks(first=first))
        case PtFile() as file:
            stream, first = stream_file(file, reading), 0
            span.require(_count_ids(file), path)
            origin, blocks = stream.origin, (block.tolist() for block in stream)
        case texts:
            if len(texts.sources) != 1 or texts.sources[0].format != "text":
                raise DataError(f"{path}: is not a text of ids; name one, a tokens or windows file, or a store")
            return Written(path, read_written_ids(texts.sources[0]), _decoder(reading))
    return Written(path, blocks, Decoder.of(origin.load_vocabulary(reading.announce)), first)


def _count_ids(file: PtFile) -> int:
    """Return how many ids the stream has that is read of a file."""
    if "token_ids" in file.tensors:
        return len(file.tensors["token_ids"])
    n_windows, max_length = file.tensors["input_ids"].shape
    return int((n_windows - 1) * file.meta["options"]["stride"] + max_length + 1)
