"""Groups of options that several commands share. A command takes one as a parameter; `spread` does the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmprep import choices
from llmprep.cli.options import (
    Encoding,
    Eot,
    Pattern,
    SpecialTokens,
    TokenizerPath,
    VocabDir,
    filled,
    output_name,
    size_in_bytes,
    which_vocabulary,
)
from llmprep.cli.printer import Printer
from llmprep.cli.progress import Far, Progress
from llmprep.errors import UsageError

if TYPE_CHECKING:
    from llmprep.documents.source import Counts


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs, and how texts among them are read and encoded."""

    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            parser=filled,
            help="Texts, JSON Lines or Parquet files, folders or patterns; or one .pt file or store. "
            "- is standard input.",
            show_default=False,
        ),
    ] = None
    files_from: Annotated[
        str | None,
        typer.Option(
            "--files-from",
            metavar="PATH",
            parser=filled,
            help="Read the names of inputs, one on a line, from PATH or -.",
        ),
    ] = None
    null: Annotated[
        bool,
        typer.Option(
            "--null", "-0", help="Take it that the names in --files-from end with NUL, as find -print0 writes them."
        ),
    ] = False
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="TEXT", parser=filled, help="Take this text itself, in the place of any FILE."),
    ] = None
    field: Annotated[
        str | None,
        typer.Option(
            "--field",
            metavar="NAME",
            parser=filled,
            help="Take the text from this field or column of records. Default: text.",
        ),
    ] = None
    encoding: Encoding = None
    tokenizer: TokenizerPath = None
    pattern: Pattern = None
    special_tokens: SpecialTokens = None
    eot: Eot = None
    vocab_dir: VocabDir = None
    newlines: Annotated[
        choices.Newlines | None,
        typer.Option("--newlines", help="Turn CRLF and CR into LF (universal), or keep them. Default: universal."),
    ] = None
    separator: Annotated[
        choices.Separator | None,
        typer.Option("--separator", help="Put the end-of-text id between documents (eot), or nothing. Default: eot."),
    ] = None
    special: Annotated[
        choices.Special | None,
        typer.Option(
            "--special",
            help="Encode an end-of-text token, such as <|endoftext|>, that stands in a text as its id (allow) or as "
            "plain text (text), or stop (error). With a tokenizer.json this is about all of its special tokens. "
            "Default: allow.",
        ),
    ] = None
    on_bad: Annotated[
        choices.OnBad | None,
        typer.Option(
            "--on-bad",
            help="End the run at a file that is not text, is damaged or cannot be read (stop), or leave it out whole "
            "(skip), which reads all of several inputs once more before anything is encoded. Default: stop.",
        ),
    ] = None
    skip_binary: Annotated[
        bool,
        typer.Option("--skip-binary", help="Leave out, of folders and patterns, files whose first bytes are not text."),
    ] = False
    backend: Annotated[
        choices.BackendName,
        typer.Option(
            "--backend",
            metavar="NAME",
            help="Encode with tiktoken, gigatoken, fastokens or tokenizers; the ids are the same. Default: auto, the "
            "one that finishes first.",
            show_default=False,
        ),
    ] = "auto"
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            max=256,
            help="Encode with so many threads. Default: one for each core that may be used.",
        ),
    ] = None
    memory: Annotated[
        int | None,
        typer.Option(
            "--memory",
            metavar="SIZE",
            parser=size_in_bytes,
            help="Let encoding take up to so much memory, such as 4GiB. Default: no limit.",
        ),
    ] = None

    def paths(self) -> list[str]:
        """Return the inputs named on the command line and in the list of files; none where a text is given itself."""
        from llmprep.documents.file_lists import read_names

        if self.text is not None:
            if self.inputs or self.files_from or self.null:
                raise UsageError("--text: is the text itself; leave out FILE... and --files-from")
            if self.on_bad is not None or self.skip_binary:
                raise UsageError("--on-bad, --skip-binary: are for files; leave them out beside --text")
            return []
        listed = read_names(self.files_from, nul_separated=self.null) if self.files_from else []
        if self.null and not self.files_from:
            raise UsageError("--null: is only used with --files-from")
        paths = [*(self.inputs or []), *listed]
        if self.files_from == "-" and "-" in paths:
            raise UsageError("-: standard input can be read only once")
        if not paths:
            raise UsageError("Missing argument 'FILE...'; name a text, - for standard input, or give one by --text")
        return paths

    def reading(self, printer: Printer, beside: int = 0) -> choices.Reading:
        """Return how the inputs are read, with the printer to be told what a person should know meanwhile.

        ``beside`` is how many bytes the command has in memory for anything but encoding.
        """
        given = {"newlines": self.newlines, "separator": self.separator, "special": self.special}
        chosen: dict[str, Any] = {name: choice for name, choice in given.items() if choice is not None}
        return choices.Reading(
            which_vocabulary(self.encoding, self.tokenizer, self.pattern, self.special_tokens, self.eot),
            choices.TextOptions(**chosen) if chosen else None,
            self.vocab_dir,
            self.field,
            choices.Effort(self.backend, count_jobs(self.jobs), memory=self.memory, beside=beside),
            printer.note,
            on_bad=self.on_bad,
            skip_binary=self.skip_binary,
            text=self.text,
        )


def count_jobs(jobs: int | None) -> int:
    """Return how many jobs were chosen, or else how many cores this process may use."""
    from llmprep.tokens.cores import default_jobs

    return default_jobs() if jobs is None else jobs


@dataclass(frozen=True, slots=True)
class Target:
    """Where the result goes, and whether it may replace what is there."""

    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="PATH", parser=output_name, help="Write to this file; - is standard output."
        ),
    ] = None
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace an existing file that is not a .pt, is read-only, or was made from other inputs."
        ),
    ] = False
    depfile: Annotated[
        str | None,
        typer.Option(
            "--depfile", metavar="FILE", parser=filled, help="Write to FILE, as make reads it, what the output is from."
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class IdFile:
    """How ids are written, or whether that is only planned."""

    dtype: Annotated[
        choices.IdDtype | None, typer.Option("--dtype", help="Write ids of this dtype. Default: int64.")
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be read and written, with an estimate; write nothing.")
    ] = False

    def resolved_dtype(self) -> choices.IdDtype:
        """Return the dtype, the default where none was chosen."""
        return self.dtype or choices.ID_DTYPE


@dataclass(frozen=True, slots=True)
class Words:
    """What is said, and how."""

    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
    color: Annotated[
        choices.Color,
        typer.Option("--color", help="Use colours: auto, when a terminal shows them and NO_COLOR is not set."),
    ] = "auto"

    def printer(self, *outputs: str | None) -> Printer:
        """Return what prints: on standard error, where one of the outputs takes standard output."""
        return Printer(self.quiet, self.as_json, "-" in outputs, self.color)

    def progress(self, counts: Sequence[Counts] = (), look: Callable[[], Far] | None = None) -> Progress:
        """Return what shows how far the reading of these sources has come, or else what ``look`` returns."""
        return Progress(counts, quiet=self.quiet, color=self.color, look=look)
