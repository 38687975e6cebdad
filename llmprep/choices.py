"""What may be chosen, as plain values: each choice, and each default, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Newlines: TypeAlias = Literal["universal", "keep"]
BLOCK_BYTES = 1 << 20
Announce = Callable[[str], None]
BackendName: TypeAlias = Literal["auto", "tiktoken", "gigatoken"]
Separator: TypeAlias = Literal["eot", "none"]
Special: TypeAlias = Literal["allow", "text", "error"]


@dataclass(frozen=True, slots=True)
class TextOptions:
    """The options that decide which ids a text becomes."""

    newlines: Newlines = "universal"
    separator: Separator = "eot"
    special: Special = "allow"

    def content(self) -> dict[str, str]:
        """Return them for ``meta``."""
        return {"newlines": self.newlines, "separator": self.separator, "special": self.special}


@dataclass(frozen=True, slots=True)
class Effort:
    """How to encode: nothing here changes a byte. ``jobs`` threads encode; 1 means no threads at all."""

    backend: BackendName = "auto"
    jobs: int = 1
    block_bytes: int = BLOCK_BYTES
