"""JSON of a file that is not trusted -> its values: no key twice, no number that is none, no depth without end."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmprep.errors import FileFormatError, visible_name


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the object that JSON holds.

    Raises ValueError, whose text says what is wrong, for anything else and for a key twice; RecursionError.
    """
    value = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_without_twins, parse_constant=_refuse_constant)
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - of a file's content
    return value


def read_json_object(name: str, data: bytes) -> dict[str, Any]:
    """Return the object that a JSON file holds. Raises `FileFormatError` for anything else, and for a key twice."""
    try:
        return parse_object(data)
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{name}: not valid UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise FileFormatError(
            f"{name}: no valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from error
    except RecursionError as error:
        raise FileFormatError(f"{name}: its JSON is nested too deeply") from error
    except ValueError as error:
        raise FileFormatError(f"{name}: {error}") from error


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twin = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {visible_name(twin)} stands twice")
    return made


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")


@contextmanager
def without_collecting() -> Iterator[None]:
    """Keep Python from looking for unused cycles meanwhile: it looks again and again at all that is read, in vain."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
