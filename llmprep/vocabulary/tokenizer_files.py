"""A path that somebody names -> the file of a vocabulary, read with care, and which kind it is, by its content."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from llmprep.choices import TokenizerFile
from llmprep.errors import FileFormatError, LlmprepError, VocabularyError, list_names
from llmprep.missing import advise_missing
from llmprep.vocabulary.definitions import encoding_names
from llmprep.vocabulary.minbpe import FIRST_LINE
from llmprep.vocabulary.rank_lines import is_rank_line
from llmprep.vocabulary.stated import CARRIED

MAX_BYTES = 256 << 20
"""The largest file that is read: the largest known tokenizer.json has 40 MB."""
CONFIG = "tokenizer_config.json"
"""What lies beside a tokenizer.json, and names its end-of-text token."""
BESIDE = "name the tokenizer.json beside it"
"""What is said of a file that lies beside the one of a vocabulary."""
Kind: TypeAlias = Literal["tokenizer.json", "rank file", "pickle", "minbpe", "tekken", "llmprep"]

_FIRST_CHOICES = ("tokenizer.json", CARRIED)
_ENDINGS = (".tiktoken", "tekken.json", "tiktoken.model", "tokenizer.model", "tokenizer.pkl", ".model")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_OTHERS: Sequence[tuple[re.Pattern[bytes], str]] = [
    (re.compile(pattern, re.IGNORECASE), what)
    for pattern, what in (
        (rb"version https://git-lfs", "a git-lfs pointer, not the file itself; fetch it with git lfs pull"),
        (rb"\s*<(!doctype html|html|\?xml)", "a web page; download the file itself, from its raw address"),
        (rb"GGUF", "a GGUF model; name the tokenizer.json of the model that it was made from"),
        (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "compressed; decompress it first"),
        (rb"PK\x03\x04", "an archive or a .pt file; name the tokenizer file itself"),
        (rb".{8}\{\"", f"a safetensors file of weights; {BESIDE}"),
        (
            rb"\x0a.?.?\x0a[\x01-\x40]",
            f"a SentencePiece model; {BESIDE}, which says how it encodes",
        ),
        (rb"#version", f"only the merges of a vocabulary; {BESIDE}"),
        (rb"c\w+\n|\(|\x80[\x00\x01\x06-\xff]", "a pickle of another protocol than 2 to 5"),
        (rb"\[PAD\]|\[UNK\]|<pad>|<s>", f"only a list of words; {BESIDE}"),
    )
]
_JSON_OTHERS = (
    (rb'"(tokenizer_class|added_tokens_decoder)"\s*:', f"a {CONFIG}; {BESIDE}"),
    (rb'"(bos_token|eos_token|unk_token)"\s*:', f"a list of special tokens; {BESIDE}"),
    (rb'"(architectures|model_type)"\s*:', "the configuration of a model; name its tokenizer.json"),
    (rb'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*\d', f"only the entries of a vocabulary; {BESIDE}"),
)


def read_file(path: str | os.PathLike[str]) -> tuple[str, bytes]:
    """Return the name and the content of the vocabulary's file that a path names, or that the folder holds.

    Raises `VocabularyError` where there is none, or none that can be read, and `FileFormatError` for one of no
    vocabulary's size. Nothing is downloaded.
    """
    named = os.fspath(path)
    try:
        status = os.stat(named)  # noqa: PTH116 - a Path would drop a trailing slash
    except FileNotFoundError as error:
        raise _missing(named) from error
    except (OSError, ValueError) as error:
        raise _unreadable(named, error) from error
    name = _in_folder(named) if stat.S_ISDIR(status.st_mode) else named
    return name, read_regular(name)


def read_beside(name: str, other: str) -> bytes | None:
    """Return the content of the file of another name beside one; None where there is none.

    Raises as `read_file`.
    """
    path = Path(name).parent / other
    return read_regular(str(path)) if path.is_file() else None


def state_of_file(asked: TokenizerFile) -> tuple[object, ...]:
    """Return place, size and time of all files that a vocabulary is read from; of none where one cannot be read."""
    try:
        path = _in_folder(asked.path) if Path(asked.path).is_dir() else asked.path
        places = [Path(path), Path(path).parent / CONFIG, *map(Path, filter(None, [asked.special_tokens]))]
        states = [place.stat() for place in places if place.exists()]
    except (OSError, ValueError, LlmprepError):
        return ()
    return tuple((state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns) for state in states)


def recognise(name: str, data: bytes) -> Kind:
    """Return which kind of vocabulary a file's content is. Raises `FileFormatError`, which says what else it is."""
    first_line = data[:4096].lstrip(b"\xef\xbb\xbf").split(b"\n", 1)[0].rstrip(b"\r")
    if first_line == FIRST_LINE.encode():
        return "minbpe"
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if is_rank_line(first_line):
        return "rank file"
    if data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        return _recognise_json(name, data)
    what = next((what for pattern, what in _OTHERS if pattern.match(data)), "no vocabulary that llmprep knows")
    if not data.strip():
        what = "empty"
    raise FileFormatError(f"{name}: is {what}")


def _recognise_json(name: str, data: bytes) -> Kind:
    """Tell the kinds of JSON apart by keys that only one of them has: no text in quotes can look like these."""
    if re.search(rb'"format"\s*:\s*"llmprep-vocabulary/', data[:4096]):
        return "llmprep"
    if re.search(rb'"model"\s*:\s*\{', data):
        return "tokenizer.json"
    if re.search(rb'"default_vocab_size"\s*:', data):
        return "tekken"
    what = next((what for pattern, what in _JSON_OTHERS if re.match(pattern, data)), "")
    what = what or next(
        (what for pattern, what in _JSON_OTHERS[:3] if re.search(pattern, data)), "no vocabulary's JSON"
    )
    raise FileFormatError(f"{name}: is {what}")


def _in_folder(folder: str) -> str:
    """Return the one file of a folder that may be its vocabulary's."""
    try:
        names = sorted(entry.name for entry in Path(folder).iterdir() if entry.is_file())  # scandir's raises at a loop
    except OSError as error:
        raise _unreadable(folder, error) from error
    found = [name for name in _FIRST_CHOICES if name in names][:1]
    found = found or [name for name in names if name.endswith(_ENDINGS)]
    if len(found) == 1:
        return str(Path(folder) / found[0])
    if found:
        raise VocabularyError(f"{folder}: has several files of vocabularies: {list_names(found)}; name one of them")
    if "manifest.json" in names:
        raise VocabularyError(
            f"{folder}: is a token store that carries no vocabulary: name the encoding that inspect shows by --encoding"
        )
    raise VocabularyError(f"{folder}: has no tokenizer.json in it, and no other file of a vocabulary; name the file")


def read_regular(name: str) -> bytes:
    """Read a file, without waiting for the writer of a pipe, or for the end of a device. Raises as `read_file`."""
    try:
        with open(name, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise VocabularyError(f"{name}: no regular file; copy it into one")
            if status.st_size > MAX_BYTES:
                raise FileFormatError(
                    f"{name}: {status.st_size} bytes, more than the {MAX_BYTES} that a vocabulary may have"
                )
            data = file.read(MAX_BYTES + 1) or b""
    except OSError as error:
        raise _unreadable(name, error) from error
    if len(data) > MAX_BYTES:
        raise FileFormatError(f"{name}: more than the {MAX_BYTES} bytes that a vocabulary may have")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _unreadable(name: str, error: Exception) -> LlmprepError:
    return VocabularyError(f"{name}: {getattr(error, 'strerror', None) or error}")


def _missing(name: str) -> VocabularyError:
    """Return the error for a path that is not there, which may be a model's name on a hub."""
    named = name in encoding_names()
    advice = f"; for tiktoken's own encoding say --encoding {name}" if named else advise_missing(name)
    if not advice and _HUB_NAME.fullmatch(name) and not Path(name).parent.is_dir():
        advice = (
            f"; if that is a model on a hub, nothing is downloaded: fetch its tokenizer.json (hf download {name} "
            f"tokenizer.json tokenizer_config.json) and name the file"
        )
    elif not advice and os.sep not in name:
        advice = "; name a tokenizer.json, a rank file or a folder; tiktoken's encodings go with --encoding"
    return VocabularyError(f"{name}: no such file or folder{advice}")
