"""Encoding name -> ranks, pattern, special tokens: embedded, from a folder, cached, or downloaded.

Pattern strings, special tokens, download addresses and hashes are tiktoken's own: its module of definitions is
loaded once more for each vocabulary, privately, with our loader in the place of its downloader. GPT-2's ranks travel
inside the package. Nothing is used whose sha256 is not the one that tiktoken pins.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import errno
import functools
import hashlib
import itertools
import os
import secrets
import stat
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from llmprep.errors import UsageError, VocabularyError, shorten

END_OF_TEXT = "<|endoftext|>"
EMBEDDED = Path(__file__).parent / "vocab" / "r50k_base.tiktoken"
R50K_SHA256 = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
P50K_SHA256 = "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"
VARIABLE = "LLMPREP_VOCAB_DIR"
CONNECT_SECONDS = 10.0
DOWNLOAD_SECONDS = 25.0
MAX_FILE_BYTES = 64 << 20

Announce = Callable[[str], None]
Ranks = dict[bytes, int]
Tried = dict[str, bool]
"""What was tried for a rank file, in words, and whether there was something that could not be used."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A byte-pair vocabulary. ``sha256`` is of its rank file; ``n_vocab`` is the largest id plus one.

    ``rank_file`` is that file's content as it was verified: whoever may write where it lies cannot change it any more.
    """

    name: str
    pattern: str
    ranks: Ranks
    special_tokens: dict[str, int]
    sha256: str
    n_vocab: int
    rank_file: bytes = field(repr=False)

    @property
    def is_embedded(self) -> bool:
        """Whether every installation of llmprep has it."""
        return self.sha256 in (R50K_SHA256, P50K_SHA256)

    @property
    def eot_id(self) -> int:
        """The id of the end-of-text token."""
        return self.special_tokens[END_OF_TEXT]


@dataclass(frozen=True, slots=True)
class _Place:
    folder: Path
    what: str
    required: bool = False
    shared: bool = False


def resolve_encoding(name: str) -> str:
    """Return the encoding for an encoding's or a model's name; `VocabularyError` suggests near misses.

    >>> resolve_encoding("gpt-4o")
    'o200k_base'
    """
    from tiktoken.model import MODEL_PREFIX_TO_ENCODING, MODEL_TO_ENCODING

    if not isinstance(name, str):
        raise VocabularyError(f"encoding: must be the name of an encoding or a model, not a {type(name).__name__}")
    encodings = _definitions().ENCODING_CONSTRUCTORS
    if name in encodings:
        return name
    if name in MODEL_TO_ENCODING:
        return MODEL_TO_ENCODING[name]
    for prefix, encoding in MODEL_PREFIX_TO_ENCODING.items():
        if name.startswith(prefix):
            return encoding
    near = difflib.get_close_matches(name.lower(), {**encodings, **MODEL_TO_ENCODING}, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(encodings)} and model names"
    raise VocabularyError(f"--encoding {shorten(name)}: unknown; {hint}")


def warn_of(told: str) -> None:
    """Say in a warning what a person should know: how Python code that has nobody to tell announces a download."""
    warnings.warn(told, stacklevel=2)


def chosen_folder(folder: str | os.PathLike[str] | None) -> str | None:
    """Return the folder that is looked in first: the one given, or else that of LLMPREP_VOCAB_DIR, if it is set.

    Raises `UsageError` for an empty name.
    """
    if folder is None:
        return os.environ.get(VARIABLE) or None
    named = os.fsdecode(folder)
    if not named:
        raise UsageError("vocab_dir: is empty; name a folder, or leave it out")
    return named


def load_vocabulary(
    name: str, folder: str | os.PathLike[str] | None = None, announce: Announce | None = None, *, download: bool = True
) -> Vocabulary:
    """Load the vocabulary of an encoding or model.

    Looked for, in this order: in the package (GPT-2 and its relatives), in ``folder`` (where it is None, in that of
    LLMPREP_VOCAB_DIR), in the folders that tiktoken caches in, and, with ``download``, at the address that tiktoken
    downloads from, after ``announce`` was told. Raises `VocabularyError`, which names every place that was tried.
    """
    encoding, chosen = resolve_encoding(name), chosen_folder(folder)
    return _build(encoding, lambda a, sha256: _rank_file(a, sha256, chosen, announce, download=download))


def rebuild_vocabulary(name: str, ranks: bytes | None) -> Vocabulary:
    """Build a vocabulary in another process from a rank file's bytes, verified again; None for an embedded one."""

    def given(address: str, sha256: str) -> bytes:
        if ranks is None:
            return _rank_file(address, sha256, None, None)
        if hashlib.sha256(ranks).hexdigest() != sha256:
            raise VocabularyError(f"{name}: the ranks that were sent do not have the sha256 {sha256}")
        return ranks

    return _build(name, given)


def _build(encoding: str, rank_file: Callable[[str, str], bytes]) -> Vocabulary:
    """Run tiktoken's definition of an encoding with ``rank_file(address, sha256)`` in the place of its downloader."""
    definitions = _load_definitions()  # a copy of our own: what is set in it is seen by no other thread
    found: list[tuple[str, bytes]] = []

    def load(address: str, expected_hash: str) -> Ranks:
        data = rank_file(address, expected_hash)
        found.append((expected_hash, data))
        return parse_ranks(data)

    def load_gpt2(**_: str) -> Ranks:
        return load("", R50K_SHA256)

    definitions.load_tiktoken_bpe = load  # type: ignore[attr-defined]
    definitions.data_gym_to_mergeable_bpe_ranks = load_gpt2  # type: ignore[attr-defined]
    definition: dict[str, Any] = definitions.ENCODING_CONSTRUCTORS[encoding]()
    ranks: Ranks = definition["mergeable_ranks"]
    special_tokens: dict[str, int] = definition["special_tokens"]
    return Vocabulary(
        name=encoding,
        pattern=definition["pat_str"],
        ranks=ranks,
        special_tokens=special_tokens,
        sha256=found[-1][0],
        n_vocab=max(itertools.chain(ranks.values(), special_tokens.values())) + 1,
        rank_file=found[-1][1],
    )


@functools.cache
def _definitions() -> ModuleType:
    """Return tiktoken's definitions, to look names up in."""
    return _load_definitions()


def _load_definitions() -> ModuleType:
    """Load a private copy of tiktoken's definitions, whose loaders are the caller's to set."""
    import importlib.util

    spec = importlib.util.find_spec("tiktoken_ext.openai_public")
    if spec is None or spec.loader is None:
        raise VocabularyError("tiktoken is installed without its definitions; reinstall tiktoken")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse_ranks(data: bytes) -> Ranks:
    r"""Parse tiktoken's format: one ``base64(token) rank`` a line.

    >>> parse_ranks(b"IQ== 0\nIg== 1\n")
    {b'!': 0, b'"': 1}
    """
    words = data.split()
    return dict(zip(map(binascii.a2b_base64, words[::2]), map(int, words[1::2]), strict=True))


def _rank_file(
    address: str, sha256: str, folder: str | None, announce: Announce | None, *, download: bool = True
) -> bytes:
    """Return a verified rank file."""
    if sha256 in (R50K_SHA256, P50K_SHA256):
        return _embedded(sha256)
    tried: Tried = {}
    found = next(filter(None, (_from_folder(place, address, sha256, tried) for place in _places(folder))), None)
    if found is None and not download:
        raise _not_found(address, tried)
    for unusable in (what for what, was_there in tried.items() if was_there):
        if announce is not None:
            announce(f"not used: {unusable}")
    return found or _download(address, sha256, tried, announce)


def _not_found(address: str, tried: Tried) -> VocabularyError:
    return VocabularyError(
        f"{_file_names(address)[0]}: not to be had; tried {'; '.join(tried)}; put the file into a folder and name that "
        f"with --vocab-dir or LLMPREP_VOCAB_DIR, from Python with vocab_dir"
    )


def _embedded(sha256: str) -> bytes:
    path = EMBEDDED
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VocabularyError(f"{path}: {error.strerror}; reinstall llmprep") from error
    if sha256 == P50K_SHA256:
        # p50k_base is r50k_base and runs of 2 to 25 spaces; id 50256 between them is the end-of-text token.
        runs = (base64.b64encode(b" " * (rank - 50255)) + b" %d\n" % rank for rank in range(50257, 50281))
        data += b"".join(runs)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise VocabularyError(f"{path}: damaged (its sha256 is not {sha256}); reinstall llmprep")
    return data


def _places(folder: str | None) -> Iterator[_Place]:
    """Folders that may hold rank files; the caches in tiktoken's own order of preference."""
    if folder:
        yield _Place(Path(folder), "--vocab-dir", required=True)
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if variable in os.environ:
            if os.environ[variable]:
                yield _Place(Path(os.environ[variable]), variable)
            return
    import tempfile

    yield _Place(Path(tempfile.gettempdir()) / "data-gym-cache", "tiktoken's cache", shared=True)


def _file_names(address: str) -> tuple[str, str]:
    """What a rank file may be called: its plain name, or as tiktoken's cache calls it."""
    key = hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
    return urlsplit(address).path.rpartition("/")[2], key


def _from_folder(place: _Place, address: str, sha256: str, tried: Tried) -> bytes | None:
    plain, key = _file_names(address)
    for name in (plain, key):
        path = place.folder / name
        try:
            data = _read_regular(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            tried[f"{path} ({getattr(error, 'strerror', None) or error})"] = True
            continue
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
        tried[f"{path} (wrong sha256: damaged or another file)"] = True
        if place.required:
            raise VocabularyError(f"{path}: its sha256 is not {sha256}, the one of {plain}; replace it")
    if place.required and any(tried.values()):  # what the user named is not passed over for a cache
        raise _not_found(address, tried)
    tried[f"{place.what} {place.folder} (no {plain} in it)"] = False
    return None


def _read_regular(path: Path) -> bytes:
    """Read a file that others may have put there: no pipe that never ends, no device, nothing of any size.

    Raises OSError, and ValueError for what is no vocabulary. It is looked at before it is opened, as opening a device
    may do something, and after, as it may have been exchanged.
    """
    _require_regular(path.stat())
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # without waiting for a pipe's writer
    with os.fdopen(descriptor, "rb") as file:
        _require_regular(os.fstat(descriptor))
        return file.read(MAX_FILE_BYTES) or b""  # None from a file of /proc that has nothing to say yet


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is a directory" if stat.S_ISDIR(status.st_mode) else "no regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise ValueError(f"{status.st_size} bytes, larger than any vocabulary")


def _download(address: str, sha256: str, tried: Tried, announce: Announce | None) -> bytes:
    plain = _file_names(address)[0]
    if announce is not None:
        announce(f"downloading {plain} from {urlsplit(address).netloc}")
    try:
        data = _fetch(address)
    except (OSError, ValueError) as error:
        tried[f"{urlsplit(address).netloc} ({getattr(error, 'reason', None) or error})"] = False
        raise _not_found(address, tried) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise VocabularyError(f"{plain}: the download's sha256 is not {sha256}; nothing was kept, try again")
    _keep(data, address, announce)
    return data


def _fetch(address: str) -> bytes:
    """Read a web address within `DOWNLOAD_SECONDS`; a silent network is an OSError."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    deadline = time.monotonic() + DOWNLOAD_SECONDS
    parts: list[bytes] = []
    try:
        with urlopen(address, timeout=CONNECT_SECONDS) as answer:  # noqa: S310 - the address is tiktoken's own
            while part := answer.read1(1 << 16):
                parts.append(part)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not complete after {DOWNLOAD_SECONDS:.0f} s")
                if sum(map(len, parts)) > MAX_FILE_BYTES:
                    raise ValueError("larger than any vocabulary")
    except HTTPError as error:
        error.close()  # it is an answer too
        raise
    except HTTPException as error:
        raise OSError(f"bad answer: {error!r}") from error
    return b"".join(parts)


def _keep(data: bytes, address: str, announce: Announce | None) -> None:
    """Put a verified download where tiktoken, too, will find it; a cache that cannot be written is only said."""
    place = next((p for p in _places(None)), None)
    if place is None:
        return
    target = place.folder / _file_names(address)[1]
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        if place.shared and place.folder.is_symlink():  # in a folder of everybody, where anybody may have put it
            raise OSError(errno.ELOOP, "is a link")
        place.folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:  # with the permissions of any new file: others may share the cache
            file.write(data)
        temporary.replace(target)
    except OSError as error:
        if announce is not None:
            announce(f"{place.folder}: not kept there ({error.strerror}); the next run downloads again")
    finally:
        with suppress(OSError):
            temporary.unlink()
