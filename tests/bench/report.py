"""Results for the screen and for build/bench.json."""

import os
import platform
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from measure import Result

AUTO, TEXTBOOK = "llmprep", "textbook"
LIBRARIES = ("llmprep", "tiktoken", "gigatoken", "numpy", "torch", "pyarrow", "backports.zstd", "litdata")
COLUMNS = ("", "s", "MB/s", "x textbook", "peak MB", "tokens", "rounds")
PROMISED = ("promise", "wanted", "measured", "met")
NOTE = "s: wall clock from the start of the process to the result on disk; MB/s, x textbook: speed by that clock\n"
MET = ("no", "yes")

Sizes = dict[int, dict[str, Result]]


def promises(sizes: Sizes, ten: Result) -> list[list[str]]:
    """Return each promise at the largest size, with what was measured; ``ten`` is of llmprep on ten times that text."""
    size, *smaller = sorted(sizes, reverse=True)
    auto, book, tiktoken = (sizes[size][name] for name in (AUTO, TEXTBOOK, "llmprep tiktoken"))
    shorter = sizes[smaller[0]][AUTO] if smaller else Result("a smaller text", 0)
    rows = []
    for promise, least, base, ours in (
        ("wall clock against the textbook way", 30, book, auto),
        ("the same with --backend tiktoken", 4, book, tiktoken),
        ("speed of the next smaller text kept", 1 / 1.2, shorter, auto),
    ):
        if error := base.error or ours.error:
            rows.append([promise, f"{least:.2g} x", error, "not measured"])
            continue
        shown = f"{ours.rate / base.rate:.2f} x ({base.rate:.1f} MB/s, {ours.rate:.1f} MB/s)"
        rows.append([promise, f"{least:.2g} x", shown, MET[ours.rate >= least * base.rate]])
    for promise, most, ours in (
        ("peak memory", 250e6, auto),
        (f"peak memory at {size * 10} MB", 250e6, ten),
        (f"peak memory at {size * 10} MB, 15 % above {size} MB", 1.15 * auto.peak, ten),
    ):
        found = (ours.error, "not measured") if ours.error else (f"{ours.peak / 1e6:.0f} MB", MET[ours.peak <= most])
        rows.append([promise, f"{most / 1e6:.0f} MB at most", *found])
    return rows


def show(sizes: Sizes, promised: list[list[str]]) -> None:
    """Print a table for each size, and the promises."""
    for size, results in sizes.items():
        rows = [row(result, results[TEXTBOOK]) for result in results.values()]
        print_table(f"{size} MB of text", COLUMNS, rows, 120)
    print_table(f"{NOTE}Promises, at {max(sizes)} MB", PROMISED, promised, 120)


def print_table(title: str, columns: tuple[str, ...], rows: list[list[str]], width: int) -> None:
    """Print a table, where there is no terminal of a given width; numbers stand at the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, title_justify="left")
    for column in columns:
        made.add_column(column, justify="left" if column in ("", *PROMISED) else "right")
    for cells in rows:
        made.add_row(*map(Text, cells))
    Console(width=None if sys.stdout.isatty() else width).print(made)


def row(result: Result, base: Result) -> list[str]:
    """Return a contestant's line; if it failed, its name and the reason."""
    if result.error:
        return [f"{result.name}: {result.error}"]
    times = "" if base.error else f"{base.wall / result.wall:.1f}"
    shown = [f"{result.wall:.2f}", f"{result.rate:.1f}", times, f"{result.peak / 1e6:.0f}", f"{result.tokens:,}"]
    return [result.name, *shown, str(len(result.runs))]


def summary(result: Result) -> dict[str, Any]:
    """Return a result's runs and, if there are any, their medians."""
    medians = {} if result.error else {"wall_seconds": result.wall, "peak_bytes": result.peak}
    return {**asdict(result), "error": result.error, **medians}


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    installed = {found.name: found.version for found in metadata.distributions()}
    return {
        "cpu": next(models, platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: installed.get(name, "not installed") for name in LIBRARIES},
    }
