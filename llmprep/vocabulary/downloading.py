"""A rank file from the address that tiktoken uses, kept where tiktoken, too, will find it."""

from __future__ import annotations

import errno
import secrets
import time
from contextlib import suppress

from llmprep.choices import Announce
from llmprep.errors import VocabularyError
from llmprep.vocabulary.folders import MAX_FILE_BYTES, cache_folder
from llmprep.vocabulary.ranks import RankFile

CONNECT_SECONDS = 10.0
"""How long a host may be silent."""
DOWNLOAD_SECONDS = 25.0
"""How long a download may take altogether."""


def download(file: RankFile, announce: Announce | None) -> bytes:
    """Download a rank file, verify it, and keep it in tiktoken's cache.

    Raises `VocabularyError` for another content than its own, OSError and ValueError where the network gives none.
    """
    if announce is not None:
        announce(f"downloading {file.name} from {file.host}")
    data = _fetch(file.address)
    if not file.holds(data):
        raise VocabularyError(f"{file.name}: the download's sha256 is not {file.sha256}; nothing was kept, try again")
    _keep(data, file, announce)
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


def _keep(data: bytes, file: RankFile, announce: Announce | None) -> None:
    """Put a verified download into tiktoken's cache; one that cannot be written is announced, and no error."""
    folder = cache_folder()
    if folder is None:
        return
    target = folder.path / file.cache_name
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        if folder.shared and folder.path.is_symlink():  # where everybody may write, anybody may have put it there
            raise OSError(errno.ELOOP, "is a link")
        folder.path.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as output:  # with the permissions of any new file: others may share the cache
            output.write(data)
        temporary.replace(target)
    except OSError as error:
        if announce is not None:
            announce(f"{folder.path}: not kept there ({error.strerror}); the next run downloads again")
    finally:
        with suppress(OSError):
            temporary.unlink()
