"""Compare llmprep with the textbook way and with other tools, on the same text, in one run: `python run.py [MB ...]`.

Contestants take turns, each in a process of its own, several rounds for each size; medians are shown. "s" is the wall
clock from the start of the process to its end, so to the result on disk (only llmprep waits until the disk has it).
Writes build/bench.json. What is not installed is listed; the exit code is 1 if llmprep, or what
needs no more than it does, has failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from contestants import CONTESTANTS
from figures import AUTO, Measured, figures
from gpt2 import BUILD, ROOT, TOKENIZER_JSON
from measure import HERE, Result, Run, measure
from report import as_values, show

FOLDER = BUILD / "bench"
SCRATCH = FOLDER / "scratch"
WARM_UP = ROOT / "sample_texts" / "story.txt"
RECORDS, TENFOLD = "llmprep JSON Lines", "llmprep 10 x"
ROUNDS, ROUNDS_OF_LARGE, LARGE_MB = 5, 3, 10
SLOW_SECONDS = 20
"""A contestant that takes longer has only one round at that size."""

Failed = dict[str, Run]


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sizes", metavar="MB", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds at most")
    arguments = parser.parse_args()
    sizes = sorted(set(arguments.sizes))
    prepare(sizes)
    failed = warm_up()
    measured = measure_all(sizes, arguments.rounds, failed)
    promises = figures(measured)
    show(measured, promises)
    (BUILD / "bench.json").write_text(json.dumps(as_values(measured, promises), indent=1) + "\n", encoding="utf-8")
    for line in measured.failures():
        say(f"failed: {line}")
    return 1 if measured.failures() else 0


def text_of(megabytes: int) -> Path:
    """Return where a text lies."""
    return FOLDER / f"english-{megabytes}.txt"


def prepare(sizes: list[int]) -> None:
    """Make the texts and the vocabulary that are not there yet, in other processes: this one stays small."""
    say("making texts")
    texts = [*map(text_of, sizes), text_of(sizes[-1]).with_suffix(".jsonl"), text_of(sizes[-1] * 10)]
    subprocess.run([sys.executable, str(HERE / "texts.py"), *map(str, texts)], check=True)
    if not (CONTESTANTS["datatrove"].missing or TOKENIZER_JSON.exists()):
        subprocess.run([sys.executable, str(HERE / "gpt2.py")], check=True)


def warm_up() -> Failed:
    """Run each contestant once on a short text, so that its libraries are in memory; return those that cannot run."""
    failed = {}
    for name, contestant in CONTESTANTS.items():
        missing = contestant.missing
        run = Run(error=f"not installed: {missing}") if missing else measure(name, WARM_UP, SCRATCH)
        say(f"warm-up {name}: {run.error or f'{run.wall:.2f} s'}")
        if run.error:
            failed[name] = run
    return failed


def measure_all(sizes: list[int], most: int, failed: Failed) -> Measured:
    """Let all contestants take turns at each size; then llmprep alone with JSON Lines and with ten times the text."""
    rounds = {size: min(most, ROUNDS if size <= LARGE_MB else ROUNDS_OF_LARGE) for size in sizes}
    largest = text_of(sizes[-1])
    runners = {name: name for name in CONTESTANTS}
    races = {size: race(runners, {name: text_of(size) for name in runners}, rounds[size], failed) for size in sizes}
    formats = {AUTO: largest, RECORDS: largest.with_suffix(".jsonl")}
    raced = race(dict.fromkeys(formats, AUTO), formats, most, failed)
    tenfold = race({TENFOLD: AUTO}, {TENFOLD: text_of(sizes[-1] * 10)}, min(most, 2), failed)
    for result in raced.values():
        result.text_bytes = largest.stat().st_size
    return Measured(races, raced[AUTO], raced[RECORDS], tenfold[TENFOLD])


def race(runners: dict[str, str], texts: dict[str, Path], rounds: int, failed: Failed) -> dict[str, Result]:
    """Let runners (label -> contestant) take turns; return each one's result."""
    results = {
        label: Result(
            label,
            texts[label].stat().st_size,
            CONTESTANTS[name].must_run,
            [failed[name]] if name in failed else [],
        )
        for label, name in runners.items()
    }
    for number in range(1, rounds + 1):
        for label, result in results.items():
            if result.runs and (result.error or result.runs[0].wall > SLOW_SECONDS):
                continue
            run = measure(runners[label], texts[label], SCRATCH)
            result.runs.append(run)
            say(f"{texts[label].name}, round {number}, {label}: {run.error or f'{run.wall:.2f} s'}")
    return results


def say(line: str) -> None:
    """Tell on standard error how far the run has come."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
