"""Sources -> the sources that can be read, and which were left out, whole, and why.

Output is written while its inputs are read, so what is left out is found before: each source is read once, to its end,
and nothing of it kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import closing

from llmprep.choices import Announce, Reading
from llmprep.documents.cuts import TIKTOKEN_CUTS, Cuts
from llmprep.documents.decompressing import open_content
from llmprep.documents.finding import find_sources, leave_out
from llmprep.documents.joining import read_small
from llmprep.documents.opening import HEAD_BYTES, ByteStream, read_up_to
from llmprep.documents.reading import read_blocks
from llmprep.documents.recognising import looks_like
from llmprep.documents.source import READ_BY_SEEKING, Counts, LeftOut, Source, is_of_one_file
from llmprep.documents.sources import Sources
from llmprep.errors import DataError, FileFormatError, InputError, LlmprepError, UsageError, plural, printable

MUCH = 1 << 30
"""From how many bytes on it is said that all inputs are read once more."""
MAX_SAID = 20
"""How many inputs that are left out are named one by one."""


def find_readable(paths: Sequence[str], reading: Reading, cuts: Cuts = TIKTOKEN_CUTS) -> Sources:
    """Return what `find_sources` finds, without what ``reading`` leaves out, which is announced.

    ``cuts`` are those of the vocabulary: where none are allowed, long documents are left out.

    Raises as `find_sources` does, `UsageError` for a pipe that would have to be read twice, and where nothing is left,
    the error of the first that is bad. One input that stands alone is not looked at: it has its error when it is read.
    """
    sources = find_listed(paths, reading)
    if reading.on_bad == "skip" and len(sources) + len(sources.left_out) > 1:
        prepare_check(sources, reading.announce)
        sources = leave_out(sources, find_bad(sources, cuts))
    announce_left_out(sources.left_out, reading.announce)
    return sources


def find_listed(paths: Sequence[str], reading: Reading, *, look: bool = True) -> Sources:
    """Return what `find_readable` does before any source is read to its end, and announce nothing of it.

    ``look`` is that of `find_sources`.
    """
    on_bad = reading.on_bad or "stop"
    sources = find_sources(paths, reading.text_field, reading.announce, look=look, on_bad=on_bad)
    if not reading.skip_binary:
        return sources
    named = set(paths)
    if named.issuperset(sources.paths):
        raise UsageError(
            "--skip-binary: is for folders and patterns, and each input is named itself; --on-bad skip leaves out those"
        )
    found = ((number, _refusal(source)) for number, source in enumerate(sources) if source.path not in named)
    return leave_out(sources, {number: refusal for number, refusal in found if refusal is not None})


def prepare_check(sources: Sources, announce: Announce | None) -> None:
    """Say that much will be read, if it is much. Raises `UsageError` for a source that can be read only once."""
    for source in sources:
        if source.size is None:
            raise UsageError(
                f"{source.path}: comes through a pipe, and --on-bad skip reads each of several inputs twice; save it "
                f"first"
            )
    if sources.n_bytes > MUCH and announce is not None:
        announce(f"--on-bad skip: reads {sources.n_bytes / 1e9:.1f} GB once, to find what is bad, before it is encoded")


def find_bad(sources: Sequence[Source], cuts: Cuts = TIKTOKEN_CUTS) -> dict[int, LlmprepError]:
    """Read sources to their ends; return what is wrong with those that cannot be read as texts, by their number.

    Raises what is no fault of one of them, as where a library is missing.
    """
    bad: dict[int, LlmprepError] = {}
    for number, source in enumerate(sources):
        try:
            _read_through(source, cuts)
        except (DataError, FileFormatError, InputError) as error:
            if not is_of_one_file(error):
                raise
            bad[number] = error
    return bad


def _read_through(source: Source, cuts: Cuts) -> None:
    counts = Counts(source)
    if read_small(counts, "keep") is None:
        for _ in read_blocks(counts, "keep", run=lambda *_: None, cuts=cuts):  # what would be hashed is not
            pass


def _refusal(source: Source) -> DataError | None:
    """Return why the first bytes of a source, decompressed, are no text's; None if they are, or cannot be read."""
    if source.format in READ_BY_SEEKING:
        return None
    try:
        with closing(ByteStream(Counts(source))) as stream:
            what, advice = looks_like(source.path, read_up_to(HEAD_BYTES, open_content(stream)))
    except (DataError, InputError):
        return None  # it has its own error when it is read
    return DataError(f"{source.path}: looks like {what}, not UTF-8 text; {advice}") if what else None


def announce_left_out(left_out: Sequence[LeftOut], announce: Announce | None) -> None:
    """Say which inputs were left out, and why, some one by one; by warnings where nobody is to be told."""
    say = announce or _warn
    for name, reason, path in left_out[:MAX_SAID]:
        say(f"{path or name}: left out: {reason}")
    if len(left_out) > MAX_SAID:
        say(
            f"{plural(len(left_out) - MAX_SAID, 'more input')} left out; left_out in the output and in --json lists all"
        )


def _warn(text: str) -> None:
    warnings.warn(printable(text), stacklevel=3)
