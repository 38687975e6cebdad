"""Results for the screen and for build/bench.json."""

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

LIBRARIES = ("llmprep", "tiktoken", "gigatoken", "numpy", "torch")
COLUMNS = ("", "s", "MB/s", "x textbook", "peak MB", "file MB", "tokens", "rounds")
MET = {True: "yes", False: "no", None: "not measured"}
NOTE = "s: wall clock from the start of the process to the result on disk; MB/s, x textbook: speed by that clock"


def show(measured: Measured, promises: list[Figure]) -> None:
    """Print a table for each size, what the contestants are, and the promises."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 120)
    for size, results in measured.sizes.items():
        rows = [row(name, result, results[TEXTBOOK]) for name, result in results.items()]
        console.print(table(f"{size} MB of text", COLUMNS, rows))
    whats = "\n".join(f"{name}: {contestant.what}" for name, contestant in CONTESTANTS.items())
    console.print(f"{NOTE}\n{whats}\n", markup=False, highlight=False)
    rows = [[figure.promise, figure.wanted, figure.measured, MET[figure.met]] for figure in promises]
    console.print(table(f"Promises, at {max(measured.sizes)} MB", ("promise", "wanted", "measured", "met"), rows))


def table(title: str, columns: tuple[str, ...], rows: list[list[str]]) -> Any:
    """Return a table; numbers stand at the right."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, title_justify="left")
    for column in columns:
        made.add_column(column, justify="right" if column in COLUMNS[1:] else "left")
    for cells in rows:
        made.add_row(*map(Text, cells))
    return made


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


def as_values(measured: Measured, promises: list[Figure]) -> dict[str, Any]:
    """Return everything that was measured, and on what, as plain values."""
    installed = {found.name: found.version for found in metadata.distributions()}
    return {
        "machine": machine(),
        "versions": {name: installed.get(name, "not installed") for name in LIBRARIES},
        "contestants": {name: contestant.what for name, contestant in CONTESTANTS.items()},
        "megabytes": {str(size): [*map(summary, results.values())] for size, results in measured.sizes.items()},
        "json_lines": [summary(measured.plain), summary(measured.records)],
        "tenfold": summary(measured.tenfold),
        "promises": [asdict(figure) for figure in promises],
    }


def summary(result: Result) -> dict[str, Any]:
    """Return a result's runs and, if there are any, their medians."""
    medians = {} if result.error else {"wall_seconds": result.wall, "peak_bytes": result.peak}
    return {**asdict(result), "error": result.error, **medians}


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "cpu": next(models, platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
        "python": platform.python_version(),
    }
