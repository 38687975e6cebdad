"""Measure every command against what bounds it: `python limits.py [MB ...]`, of which the largest counts.

Contestants take turns, each in a process of its own; medians are shown. What bounds a text is its floor (floor.py), in
as many threads as the command has jobs; for `.jsonl.zst` and `.parquet` it is that of the same text as `.txt`:
decompressing and parsing come on top, and are ours to answer for. "a core" is the share of one thread's floor that each
core reaches. What bounds embed and pairs is `cp` and `sync` of the file that they write; inspect, the hashes of the
floor in two threads; many small files, `tar` of them; the start, `import torch`. Start-up is left out: the median of
the same command on one line of text (by tiktoken, so that what gigatoken needs to start counts). Peak memory is that of
the largest process. Writes build/limits.json and build/limits.svg; the exit code is 1 if a command fails, or has
another number of tokens than the floor.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

from gpt2 import BUILD, FOLDER, OUT, ROOT
from measure import Result, race, say
from report import MET, machine, print_table, summary

LLMPREP = (sys.executable, "-m", "llmprep")
MADE, STORY = FOLDER / "limits", str(ROOT / "sample_texts" / "story.txt")
KINDS, ENDINGS = ("english", "code", "chinese"), (".txt", ".jsonl.zst", ".parquet")
TO_FILE, TO_STORE = ("-q", "-o", str(OUT)), ("tokenize", "-q", "-o", f"{OUT}/", "--jobs")
WAYS = {
    "tokenize": (2, ("tokenize", *TO_FILE, "--dtype", "uint16", "--jobs", "2")),
    "window": (2, ("window", *TO_FILE, "--dtype", "uint16", "--jobs", "2", "--max-length", "4")),
    "store, 1 job": (1, (*TO_STORE, "1")),
    "store, 2 jobs": (2, (*TO_STORE, "2")),
}
"""How many cores each uses, and its command."""
VERIFY, PAIRS = ("inspect", "--verify", "--json"), ("pairs", *TO_FILE, "--context-size", "64", "--windows")
COLUMNS = ("", "s", "a second", "of its bound", "a core", "cpu s", "peak MB", "250 MB at most")


@dataclass(frozen=True, slots=True)
class Limit:
    """A command, what bounds it, and its start-up.

    ``amount`` of ``unit`` is what it gets through; only ``parts`` of the bound count, if there are any. ``alone`` is
    the floor of its text in one thread; ``cores`` how many it uses.
    """

    ours: Result
    bound: Result | None = None
    start: Result | None = None
    amount: float = 0
    unit: str = "MB"
    parts: tuple[str, ...] = ()
    alone: Result | None = None
    cores: int = 1

    def failure(self) -> str:
        """Why the bench fails; empty if it does not."""
        if self.ours.error or self.alone is None or self.alone.error:
            return self.ours.error
        separators = 0 if self.ours.name.endswith(".txt") else self.alone.runs[-1].records - 1
        wrong = {run.tokens for run in self.ours.runs} - {self.alone.tokens + separators}
        return f"{wrong} tokens, the floor has {self.alone.tokens} and {separators} separators" if wrong else ""

    def figures(self) -> dict[str, Any]:
        """Return what is shown."""
        found: dict[str, Any] = {"name": self.ours.name, "cpu_seconds": self.ours.runs[-1].cpu}
        if error := self.ours.error or (self.start.error if self.start else ""):
            return {**found, "error": error}
        seconds = self.ours.wall - (self.start.wall if self.start else 0)
        found |= {"error": "" if seconds > 0 else "too fast beside its start-up", "peak_bytes": self.ours.peak}
        if found["error"]:
            return found
        found |= {"seconds": seconds, "a_second": self.amount / seconds, "unit": self.unit}
        if self.bound and not self.bound.error:
            found["share"] = self.bound.timed(*self.parts) / seconds
        if self.alone and not self.alone.error:
            found["share_a_core"] = self.alone.timed() / seconds / self.cores
        return found


def main() -> int:
    """Prepare, let all take turns, show, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sizes", metavar="MB", type=int, nargs="*", default=[100])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", metavar="REGEX", default="", help="measure what has such a name")
    arguments = parser.parse_args()
    size = max(arguments.sizes)
    small = max(1, size // 20)  # embeddings take 256 times the space of a text
    prepare(size, path_of("english", small), str(3000 * small))
    first, *more = of_texts(size)
    limits = [first, *more, *others(first, path_of("english", small), 3000 * small)]
    limits = [limit for limit in limits if re.search(arguments.only, limit.ours.name)]
    results = [result for limit in limits for result in (limit.alone, limit.bound, limit.start, limit.ours) if result]
    results = list({id(result): result for result in results}.values())
    race(results, arguments.rounds)
    rows = [limit.figures() for limit in limits]
    print_table(f"llmprep and what bounds it, at {size} MB", COLUMNS, [*map(cells, rows)], 140)
    print(__doc__)
    values = {"machine": machine(), "megabytes": size, "limits": rows, "runs": [*map(summary, results)]}
    (BUILD / "limits.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    (BUILD / "limits.svg").write_text(chart(rows), encoding="utf-8")
    failed = [f"failed: {limit.ours.name}: {limit.failure()}" for limit in limits if limit.failure()]
    say("\n".join(failed) or "all have run")
    return int(bool(failed))


def path_of(kind: str, megabytes: int, ending: str = ".txt") -> Path:
    """Return where a text lies."""
    return FOLDER / f"{kind}-{megabytes}{ending}"


def prepare(size: int, small: Path, n_windows: str) -> None:
    """Write the texts, and what some commands take, or would write."""
    say("making texts, files and stores")
    paths = [path_of(*names) for names in (*product(KINDS, [size], ENDINGS), *product(["line"], [1], ENDINGS))]
    maker = str(Path(__file__).with_name("texts.py"))
    subprocess.run([sys.executable, maker, *map(str, paths), str(small)], check=True)
    shutil.rmtree(MADE, ignore_errors=True)
    (MADE / "files").mkdir(parents=True)
    with paths[0].open("rb") as text:
        for number in range(200 * size):
            (MADE / "files" / f"{number:07}.txt").write_bytes(text.read(200).decode(errors="ignore").encode())
    for command in (
        ("tokenize", str(paths[0]), "-o", f"{MADE}/store/"),
        ("tokenize", str(path_of("line", 1)), "-o", f"{MADE}/line/"),
        ("tokenize", str(paths[0]), "-o", f"{MADE}/tasks/", "--task", "1/1"),
        ("window", str(small), "-o", f"{MADE}/windows.pt"),
        ("embed", f"{MADE}/windows.pt", "-o", f"{MADE}/embed.pt"),
        (*PAIRS, n_windows, str(small), "-o", f"{MADE}/pairs.pt"),
    ):
        subprocess.run([*LLMPREP, *command, "-q"], check=True)


def ours(name: str, n_bytes: int, *options: str) -> Result:
    """Return a command of ours that has not run yet."""
    return Result(name, n_bytes, (*LLMPREP, *options))


def of_texts(size: int) -> Iterator[Limit]:
    """Yield the commands that read texts, of each kind, from each kind of file."""
    starts = {
        (way, ending): ours(f"start-up of {way}, {ending}", 0, *options, str(path_of("line", 1, ending)))
        for ending, (way, (_, options)) in product(ENDINGS, WAYS.items())
    }
    floor = (sys.executable, str(Path(__file__).with_name("floor.py")))
    for kind in KINDS:
        path = path_of(kind, size)
        n_bytes = path.stat().st_size
        floors = [Result(f"floor of {kind}, {n}", n_bytes, (*floor, str(n), str(path), str(OUT))) for n in (1, 2)]
        for ending, (way, (cores, options)) in product(ENDINGS, WAYS.items()):
            command = ours(f"{way}, {kind}{ending}", n_bytes, *options, str(path_of(kind, size, ending)))
            start = starts[way, ending]
            yield Limit(command, floors[cores - 1], start, n_bytes / 1e6, "MB", (), floors[0], cores)


def others(tokenize: Limit, small: Path, n_windows: int) -> Iterator[Limit]:
    """Yield the other commands; ``tokenize`` is that of the English text, whose floor has two threads."""
    line, out, files = str(path_of("line", 1)), str(OUT), f"{MADE}/files"
    for command, start, rows in (
        (("embed", *TO_FILE, f"{MADE}/windows.pt"), ("embed", *TO_FILE, "--max-length", "4", line), 0),
        ((*PAIRS, str(n_windows), str(small)), ("pairs", *TO_FILE, line), 64 * n_windows),
    ):
        made = MADE / f"{command[0]}.pt"
        n_bytes = made.stat().st_size
        copy = Result(f"cp, sync {made.name}", n_bytes, ("sh", "-c", 'cp "$0" "$1" && sync "$1"', str(made), out))
        begin = ours(f"start-up of {command[0]} -o", 0, *start)
        yield Limit(ours(command[0], n_bytes, *command), copy, begin, rows or n_bytes / 1e6, "rows" if rows else "MB")
    n_bytes = sum(path.stat().st_size for path in (MADE / "store").iterdir())
    begin, verify = ours("start-up of inspect", 0, *VERIFY, f"{MADE}/line"), (*VERIFY, f"{MADE}/store")
    hashes = ("sha256 of ids", "crc32")
    yield Limit(ours("inspect --verify", n_bytes, *verify), tokenize.bound, begin, n_bytes / 1e6, "MB", hashes)
    n_files, begin = len([*Path(files).iterdir()]), ours("start-up of store", 0, *TO_STORE, "2", line)
    tar = Result("tar of files", 0, ("tar", "-cf", out, files))
    yield Limit(ours(f"store of {n_files:,} files", 0, *TO_STORE, "2", files), tar, begin, n_files, "files")
    merge = ("sh", "-c", 'cp -r "$0" "$1" && exec "$2" -m llmprep merge -q "$1"', f"{MADE}/tasks", out, sys.executable)
    yield Limit(Result("cp, merge", n_bytes, merge), amount=n_bytes / 1e6)
    torch = Result("import torch", 0, (sys.executable, "-c", "import torch"))
    for options in (("--help",), ("window", *TO_FILE, STORY), ("pairs", STORY)):
        yield Limit(ours(f"start-up of {options[0]}", 0, *options), torch, unit="")


def cells(row: dict[str, Any]) -> list[str]:
    """Return a line of the table; for what failed, its name and the reason."""
    if row["error"]:
        return [f"{row['name']}: {row['error']}"]
    unit, share, a_core = row["unit"], row.get("share"), row.get("share_a_core")
    rate = f"{row['a_second']:,.{1 if unit == 'MB' else 0}f} {unit}" if unit else ""
    bound = "" if share is None else f"{share:.0%}" if unit else f"1/{share:.1f} of it"
    shown = [row["name"], f"{row['seconds']:.2f}", rate, bound, f"{a_core:.0%}" if a_core else ""]
    return [*shown, f"{row['cpu_seconds']:.2f}", f"{row['peak_bytes'] / 1e6:.0f}", MET[row["peak_bytes"] <= 250e6]]


def chart(rows: list[dict[str, Any]]) -> str:
    """Return the shares of the bounds as bars, in SVG; the dashed line is the bound."""
    bars = [(row["name"], row["share"]) for row in rows if row.get("share") and row["unit"]]
    height = 18 * len(bars) + 40
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="900" height="{height}" font-family="sans-serif">']
    lines += ['<rect width="100%" height="100%" fill="white"/><g font-size="12">']
    lines += ['<text x="10" y="18">Speed as a share of what bounds it, start-up left out</text>']
    for y, (name, share) in zip(range(30, height, 18), bars, strict=False):
        width = 500 * min(share, 1.2)
        lines += [f'<text x="230" y="{y + 11}" text-anchor="end">{escape(name)}</text>']
        lines += [f'<rect x="240" y="{y}" width="{width:.0f}" height="14" fill="#4477aa"/>']
        lines += [f'<text x="{246 + width:.0f}" y="{y + 11}">{share:.0%}</text>']
    lines += [f'</g><path d="M740 26V{height}" stroke="black" stroke-dasharray="3"/></svg>']
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
