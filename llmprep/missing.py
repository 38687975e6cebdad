"""The name of a file that is not there -> what may have been meant by it. A leaf, like `errors`."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from itertools import islice

_ADDRESS = re.compile(r"(?:.*/)?(https?|ftp|s3|gs|gcs|hf|az|abfss?|hdfs|file):/+", re.IGNORECASE)
"""A `Path` makes one slash of the two."""
_DASH = re.compile("[\u2010-\u2015\u2212]+(\\w[\\w-]*)")
"""What a page makes of the two hyphens of an option."""
_FETCH = {
    "http": "curl -sL ADDRESS | llmprep ... -",
    "s3": "aws s3 cp ADDRESS - | llmprep ... -",
    "gs": "gcloud storage cat ADDRESS | llmprep ... -",
    "hf": "download it first, with hf download",
}
MAX_LISTED = 10_000
"""How many names of a folder are compared with one that is not there."""
LIKENESS = 0.65
"""How like another a name is, from 0 to 1, that may be a slip of the pen."""


def is_address(name: str) -> bool:
    """Tell an address on some network from the name of a file."""
    return _ADDRESS.match(name) is not None


def advise_missing(path: str) -> str:
    """Return what to do about a file that is not there, as the end of its error; empty where nothing is known."""
    if (dash := _DASH.match(path)) is not None:
        return f"; it begins with a dash, and options with two hyphens: --{dash[1]}"
    address = _ADDRESS.match(path)
    if address is not None:
        scheme = address[1].lower().removesuffix("s" if address[1].lower() == "https" else "")
        if scheme == "file":
            return "; leave out file://"
        whole = f"{address[1]}://{path[address.end() :]}"
        fetch = _FETCH.get(scheme, "download it first").replace("ADDRESS", shlex.quote(whole))
        return f"; it is an address, and llmprep reads files: {fetch}"
    near = _near_name(path.rstrip(os.sep))
    return f"; did you mean {near}?" if near else ""


def explain_dash(names: Iterable[str]) -> str | None:
    """Return what is wrong with a name, if any, that is no file but an option whose hyphens a page made a dash."""
    dashed = next((name for name in names if _DASH.match(name) and not os.path.lexists(name)), None)
    return dashed and f"{dashed}: no such file or directory{advise_missing(dashed)}"


def _near_name(path: str, *, is_folder: bool = False) -> str | None:
    """Return the path that is there and most like one that is not, with each folder of it that is misspelt mended."""
    from difflib import get_close_matches

    folder, name = os.path.split(path)
    if folder and not os.path.isdir(folder):  # noqa: PTH112 - a Path would drop a leading ./
        near = _near_name(folder, is_folder=True) if folder != path else None
        mended = os.path.join(near, name) if near else ""  # noqa: PTH118
        return mended if mended and os.path.exists(mended) else None  # noqa: PTH110
    wanted, ending = os.path.splitext(name.lower())  # noqa: PTH122
    try:
        with os.scandir(folder or ".") as entries:
            listed = [e.name for e in islice(entries, MAX_LISTED) if e.name[0] != "." and (not is_folder or e.is_dir())]
    except OSError:
        return None
    others = sorted({*listed} - {name})  # a link to nothing has the very name
    names = {os.path.splitext(other.lower()): other for other in others}  # noqa: PTH122
    like = get_close_matches(wanted, {stem for stem, _ in names}, 8, LIKENESS)
    found = [parts for stem in like for parts in names if parts[0] == stem]
    best = min(found, key=lambda parts: (parts[0] != wanted, parts[1] != ending), default=None)
    return os.path.join(folder, names[best]) if best else None  # noqa: PTH118
