"""Every error that a user can cause, and what messages are made of. A leaf: it imports nothing of llmprep.

    LlmprepError            1   input/output or runtime
    |-- InputError          1   a file is missing, unreadable, or changed while it was read
    |-- OutputError         1   the result cannot be written
    |-- BackendsDifferError 1   a fast backend gave other ids than the library that defines them
    |-- WorkerDiedError     1   a process that built a shard was killed, or ran out of memory
    |-- UsageError          2   the options make no sense, alone or together
    |-- DataError           3   the text itself is unusable
    |-- EmptyError          3   the input holds no text at all
    |-- FileFormatError     4   a .pt or vocabulary file is corrupt, unsafe, or not what it must be
    |-- VocabularyError     5   a vocabulary is unknown, missing or fails its hash
    |-- RefusedError        6   an existing file would be lost
    `-- ReaderGoneError   141   the program that reads our output has closed it

The number is the exit code of the command. A message is one line, ``WHERE: what is wrong; what to do``. It
holds names and text as they are: whoever prints it makes control characters visible.
"""

from __future__ import annotations


class LlmprepError(Exception):
    """Base of all errors of llmprep; catch it to catch them all.

    >>> UsageError("--stride 0: must be at least 1").exit_code
    2
    """

    exit_code = 1


class InputError(LlmprepError):
    """An input cannot be opened or read to its end."""


class OutputError(LlmprepError):
    """The output cannot be written."""


class BackendsDifferError(LlmprepError):
    """The two backends gave different ids for the same text, so one of them is wrong."""


class WorkerDiedError(LlmprepError):
    """A process that built a shard of a token store ended without a result."""


class UsageError(LlmprepError):
    """An option is out of range, or cannot be combined with another.

    ``lacks`` is set where a vocabulary file does not say what an option must: the field of `TokenizerFile` for it, the
    message without the file's name, and a value that the field may have.
    """

    exit_code = 2
    lacks: tuple[str, str, str] | None = None

    @classmethod
    def lacking(cls, name: str, reason: str, field: str, example: str) -> UsageError:
        """Return the error for a file that does not say something."""
        error = cls(f"{name}: {reason}")
        error.lacks = field, reason, example
        return error


class DataError(LlmprepError):
    """The text was read but cannot become windows: not UTF-8, too short."""

    exit_code = 3


class EmptyError(LlmprepError):
    """The input holds no token. `tokenize --count` counts it as 0 where there are other inputs."""

    exit_code = 3


class FileFormatError(LlmprepError):
    """A .pt file is damaged, holds code, or is not of a kind that the command takes."""

    exit_code = 4


class VocabularyError(LlmprepError):
    """An encoding is unknown, or its vocabulary file cannot be found or downloaded."""

    exit_code = 5


class RefusedError(LlmprepError):
    """The output is locked, or is a file that llmprep did not write."""

    exit_code = 6


class ReaderGoneError(LlmprepError):
    """The program that read standard output has closed it, as ``| head -1`` does."""

    exit_code = 141


NAMES_SHOWN = 8
"""Names of a list that a message shows."""
NAME_LENGTH = 40
"""Characters of a name that a message shows."""


def shorten(text: str, length: int = NAME_LENGTH) -> str:
    """Return text from a file, fit for a message: where longer than ``length``, the first ``length - 1`` and dots.

    >>> shorten("k" * 99, 8)
    'kkkkkkk...'
    """
    return text if len(text) <= length else f"{text[: length - 1]}..."


def printable(text: str) -> str:
    r"""Return text with names in it, fit for a warning, which Python prints as it is: nothing in it acts on a terminal.

    >>> printable("a.txt: empty"), printable("\x1b[31m: empty")
    ('a.txt: empty', '\\x1b[31m: empty')
    """
    return text if text.isprintable() else repr(text)[1:-1]


def visible_name(text: str) -> str:
    r"""Return a name that a file states, fit for a repr: short, and with nothing that acts on a terminal.

    >>> visible_name("gpt2"), visible_name("\x1b[31m")
    ('gpt2', "'\\x1b[31m'")
    """
    return shorten(text if text.isprintable() else repr(text))


def list_names(names: list[str]) -> str:
    """Return names from a file, fit for a message: the first `NAMES_SHOWN`, each cut to `NAME_LENGTH`.

    >>> list_names(["text", "k" * 99]), list_names([])
    ('text, kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...', 'none')
    """
    shown = [shorten(name) for name in names[:NAMES_SHOWN]]
    return ", ".join(shown + ["..."] * (len(names) > NAMES_SHOWN)) or "none"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Return a count with its noun, in the plural unless the count is 1: ``nouns``, or else with an s.

    >>> plural(1, "window"), plural(1286, "window"), plural(2, "batch", "batches")
    ('1 window', '1,286 windows', '2 batches')
    """
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"
