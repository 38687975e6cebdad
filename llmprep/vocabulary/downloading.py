"""A rank file from the address that tiktoken downloads from."""

from __future__ import annotations

import errno
import hashlib
import secrets
import time
from contextlib import suppress
from urllib.parse import urlsplit

from llmprep.choices import Announce
from llmprep.errors import VocabularyError
from llmprep.vocabulary.folders import MAX_FILE_BYTES, Tried, not_found_error, rank_file_names, rank_folders

CONNECT_SECONDS = 10.0
DOWNLOAD_SECONDS = 25.0


def fetch_ranks(address: str, sha256: str, tried: Tried, announce: Announce | None) -> bytes:
    plain = rank_file_names(address)[0]
    if announce is not None:
        announce(f"downloading {plain} from {urlsplit(address).netloc}")
    try:
        data = _fetch(address)
    except (OSError, ValueError) as error:
        tried[f"{urlsplit(address).netloc} ({getattr(error, 'reason', None) or error})"] = False
        raise not_found_error(address, tried) from error
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
    place = next((p for p in rank_folders(None)), None)
    if place is None:
        return
    target = place.folder / rank_file_names(address)[1]
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
