"""What is said of an output that stands in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.output.checking import Output


def made_line(output: Output, what: str, n_bytes: int) -> str:
    """Return the line that names an output, what is in it, or that it is what it was before, and its size."""
    from llmprep.output.checking import is_unchanged

    held = "unchanged" if is_unchanged(output) else what
    return f"{plain.visible(output.name)}: {held}, {plain.size(n_bytes)}"


def made_values(output: Output, n_bytes: int) -> dict[str, object]:
    """Return the same as values of a JSON object."""
    from llmprep.output.checking import is_unchanged

    name = output.name if output.kept else None
    return {"output": name, "output_bytes": n_bytes, "unchanged": is_unchanged(output)}
