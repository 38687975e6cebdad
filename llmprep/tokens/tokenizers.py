"""The ``tokenizers`` library, which defines what a tokenizer.json gives, behind two calls.

A text is encoded whole. Of the library's calls only those for a batch let other threads run, and it would encode a
batch by as many threads as the machine has cores: here each call encodes in the thread that makes it, so that the run
has the threads it was asked for, and a process may be forked.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from llmprep.errors import DataError, FileFormatError, LlmprepError
from llmprep.output.temporary import temporary_file
from llmprep.tokens.lines import find_differing
from llmprep.tokens.memory import require_memory, return_freed_memory

DEFINING_LINES = ("0.22", "0.23")
"""Lines of releases whose ids define a tokenizer.json: 0.22.2 and 0.23.3 agree around every character
for which 1.0 has other ids; 0.20 differs on those that Unicode 16 added."""
BUILD_PER_ID = 1700
"""The most memory that building a tokenizer takes for each id, measured; what it holds later is less."""
ENCODE_PER_BYTE = 300
"""The most memory that encoding takes for each byte of a text, measured on digits that are a token each."""


def has_tokenizers() -> bool:
    """Tell whether the ``hf`` extra is installed."""
    return importlib.util.find_spec("tokenizers") is not None


@functools.cache
def library_line() -> str:
    """Return the line of releases that is installed, as "0.23"."""
    return ".".join(importlib.metadata.version("tokenizers").split(".")[:2])


def is_defining(line: str) -> bool:
    """Tell whether a line's ids are the definition for every text."""
    return line in DEFINING_LINES


class Tokenizers:
    """A tokenizer of the library, built when the first text is encoded; any number of threads may use it.

    ``tokenizer_json`` is the text of a tokenizer.json that cuts, pads and adds nothing: no truncation, padding,
    post-processor or dropout. Where special tokens are to stay text, a second one is built, as this is set for all
    threads at once; the 1.0 line is told per call.
    """

    def __init__(self, tokenizer_json: str, n_vocab: int = 0) -> None:
        self._json = tokenizer_json
        self._n_vocab = n_vocab
        self._built: dict[bool, Any] = {}
        self._turn = threading.Lock()

    def encode(self, data: bytes, *, special: bool) -> npt.NDArray[np.uint32]:
        """Return the ids (n,) of UTF-8 text; with ``special``, a special token in it becomes its id.

        Raises `DataError` for a text that the library cannot encode, `FileFormatError` if it cannot be built.
        """
        return self.encode_many([data], special=special)[0]

    def encode_many(self, texts: Sequence[bytes], *, special: bool) -> list[npt.NDArray[np.uint32]]:
        """Return the ids of each text, by one call of the library. Raises as `encode` does."""
        tokenizer = self.load(special=special)
        require_memory(ENCODE_PER_BYTE * sum(map(len, texts)))
        decoded = [data.decode() for data in texts]
        _require_definition(decoded)
        with _one_line("tokenizers cannot encode this text", DataError):
            if hasattr(tokenizer, "encode_batch_fast"):
                encodings = tokenizer.encode_batch_fast(decoded, add_special_tokens=False)
            else:
                encodings = tokenizer.encode_batch(decoded, add_special_tokens=False, encode_special_tokens=not special)
        return [np.array(encoding.ids, np.uint32) for encoding in encodings]

    def load(self, *, special: bool) -> Any:
        """Return the library's tokenizer, built at the first call. Raises `FileFormatError` if it cannot be."""
        with self._turn:
            if special not in self._built:
                other = self._built.get(not special)
                shared = other is not None and not hasattr(other, "encode_special_tokens")
                self._built[special] = other if shared else self._build(special=special)
            return self._built[special]

    def _build(self, *, special: bool) -> Any:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # is read at each call
        from tokenizers import Tokenizer

        require_memory(BUILD_PER_ID * self._n_vocab)
        with _one_line("tokenizer.json: tokenizers cannot build it", FileFormatError):
            if hasattr(Tokenizer, "from_str"):
                tokenizer = Tokenizer.from_str(self._json)
                tokenizer.encode_special_tokens = not special
            else:
                with temporary_file(suffix=".json") as file:
                    file.write(self._json.encode())
                    file.flush()
                    tokenizer = Tokenizer.from_file(file.name)
        return_freed_memory()
        return tokenizer


def _require_definition(texts: Iterable[str]) -> None:
    """Raise `DataError` for a text whose ids another line than the defining one may give otherwise."""
    line = library_line()
    if is_defining(line):
        return
    found = next(filter(None, map(find_differing, texts)), None)
    if found is not None:
        raise DataError(
            f"the text holds U+{ord(found):04X}, for which tokenizers {line} may give other ids than the line that "
            f"defines them: pip install 'tokenizers<1'"
        )


@contextmanager
def _one_line(what: str, kind: type[LlmprepError]) -> Iterator[None]:
    """Turn what the library raises into one error of ``kind``; a panic of its own is no `Exception`."""
    try:
        yield
    except LlmprepError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:200]
        raise kind(f"{what}: {reason}") from error
