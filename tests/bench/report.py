"""Results for the screen and for build/bench.json."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS
from figures import TEXTBOOK, Figure, Measured
from measure import Result

LIBRARIES = ("llmprep", "tiktoken", "gigatoken", "numpy", "torch", "datasets", "litdata", "datatrove", "tokenizers")
COLUMNS = ("s", "MB/s", "x textbook", "peak MB", "file MB", "tokens", "rounds")
MET = {True: "yes", False: "no", None: "not measured"}
NOTE = """\
s: wall clock from the start of the process to the result on disk; MB/s, x textbook: speed by that clock
peak: of all of a contestant's processes together
"""


def show(measured: Measured, promises: list[Figure]) -> None:
    """Print a table for each size, what the contestants are, and the promises."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 120)
    for size, results in measured.sizes.items():
        console.print(table_of(size, results))
    whats = "\n".join(f"{name}: {contestant.what}" for name, contestant in CONTESTANTS.items())
    console.print(f"{NOTE}\n{whats}\n", markup=False, highlight=False)
    console.print(table_of_promises(max(measured.sizes), promises))


def table_of(size: int, results: dict[str, Result]) -> Any:
    """Return the table of one size."""
    from rich.table import Table
    from rich.text import Text

    table = Table("", title=f"{size} MB of text", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name, result in results.items():
        table.add_row(*map(Text, row(name, result, results[TEXTBOOK])))
    return table


def row(name: str, result: Result, base: Result) -> list[str]:
    """Return a contestant's line; if it failed, its name and the reason."""
    if result.error:
        return [f"{name}: {result.error}"]
    return [
        name,
        f"{result.wall:.2f}",
        f"{result.rate:.1f}",
        "" if base.error else f"{base.wall / result.wall:.1f}",
        f"{result.peak / 1e6:.0f}",
        f"{result.runs[-1].n_bytes / 1e6:.1f}" if CONTESTANTS[name].writes else "-",
        f"{result.tokens:,}",
        str(len(result.runs)),
    ]


def table_of_promises(size: int, promises: list[Figure]) -> Any:
    """Return the table of the promises."""
    from rich.table import Table
    from rich.text import Text

    table = Table("promise", "wanted", "measured", "met", title=f"Promises, at {size} MB", title_justify="left")
    for figure in promises:
        table.add_row(*map(Text, (figure.promise, figure.wanted, figure.measured, MET[figure.met])))
    return table


def as_values(measured: Measured, promises: list[Figure]) -> dict[str, Any]:
    """Return everything that was measured, and on what, as plain values."""
    races = {str(size): [summary(result) for result in results.values()] for size, results in measured.sizes.items()}
    return {
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "contestants": {name: contestant.what for name, contestant in CONTESTANTS.items()},
        "megabytes": races,
        "json_lines": [summary(measured.plain), summary(measured.records)],
        "tenfold": summary(measured.tenfold),
        "promises": [asdict(figure) for figure in promises],
    }


def summary(result: Result) -> dict[str, Any]:
    """Return a result's medians and its runs."""
    known = {"name": result.name, "text_bytes": result.text_bytes, "error": result.error}
    if result.error:
        return known
    medians = {"wall_seconds": result.wall, "peak_bytes": result.peak}
    return {**known, **medians, "runs": [asdict(run) for run in result.runs]}


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": next(models, platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "system": platform.system(),
    }


def version(name: str) -> str:
    """Return a library's version."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
