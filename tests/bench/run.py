"""Compare llmprep with the textbook way and with other tools, on the same text, in one run: `python run.py [MB ...]`.

Contestants take turns, each in a process of its own, several rounds for each size; medians are shown. "s" is the wall
clock from the start of the process to its end, so to the result on disk (only llmprep waits until the disk has it).
Writes build/bench.json. What is not installed is listed; the exit code is 1 if llmprep, or what
needs no more than it does, has failed.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from contestants import CONTESTANTS
from figures import AUTO, Measured, figures
from gpt2 import BUILD, FOLDER, ROOT
from measure import Result, Run, measure
from report import as_values, show

WARM_UP = ROOT / "sample_texts" / "story.txt"
RECORDS, TENFOLD = "llmprep JSON Lines", "llmprep 10 x"
SLOW_SECONDS = 20
"""A contestant that takes longer has only one round at that size."""

Failed = dict[str, Run]


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sizes", metavar="MB", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--rounds", type=int, default=3, help="rounds at most")
    arguments = parser.parse_args()
    sizes = sorted(set(arguments.sizes))
    say("making texts")  # in another process: this one stays small
    texts = [*map(text_of, sizes), text_of(sizes[-1]).with_suffix(".jsonl"), text_of(sizes[-1] * 10)]
    subprocess.run([sys.executable, str(Path(__file__).with_name("texts.py")), *map(str, texts)], check=True)
    measured = measure_all(sizes, arguments.rounds, warm_up())
    promises = figures(measured)
    show(measured, promises)
    (BUILD / "bench.json").write_text(json.dumps(as_values(measured, promises), indent=1) + "\n", encoding="utf-8")
    for line in measured.failures():
        say(f"failed: {line}")
    return 1 if measured.failures() else 0


def text_of(megabytes: int) -> Path:
    """Return where a text lies."""
    return FOLDER / f"english-{megabytes}.txt"


def warm_up() -> Failed:
    """Run each contestant once on a short text, so that its libraries are in memory; return those that cannot run."""
    failed = {}
    for name, contestant in CONTESTANTS.items():
        missing = Run(error=f"not installed: {contestant.needs}") if contestant.missing else None
        run = missing or measure(name, WARM_UP, FOLDER / "scratch")
        say(f"warm-up {name}: {run.error or f'{run.wall:.2f} s'}")
        if run.error:
            failed[name] = run
    return failed


def measure_all(sizes: list[int], most: int, failed: Failed) -> Measured:
    """Let all contestants take turns at each size; then llmprep alone with JSON Lines and with ten times the text."""
    races = {size: race({name: (name, text_of(size)) for name in CONTESTANTS}, most, failed) for size in sizes}
    largest = text_of(sizes[-1])
    formats = race({AUTO: (AUTO, largest), RECORDS: (AUTO, largest.with_suffix(".jsonl"))}, most, failed)
    tenfold = race({TENFOLD: (AUTO, text_of(sizes[-1] * 10))}, min(most, 2), failed)
    for result in formats.values():
        result.text_bytes = largest.stat().st_size
    return Measured(races, formats[AUTO], formats[RECORDS], tenfold[TENFOLD])


def race(runners: dict[str, tuple[str, Path]], rounds: int, failed: Failed) -> dict[str, Result]:
    """Let runners (label -> contestant and text) take turns; return each one's result."""
    results = {
        label: Result(label, text.stat().st_size, not CONTESTANTS[name].needs, [failed[name]] if name in failed else [])
        for label, (name, text) in runners.items()
    }
    for number in range(1, rounds + 1):
        for label, (name, text) in runners.items():
            result = results[label]
            if result.runs and (result.error or result.runs[0].wall > SLOW_SECONDS):
                continue
            run = measure(name, text, FOLDER / "scratch")
            result.runs.append(run)
            say(f"{text.name}, round {number}, {label}: {run.error or f'{run.wall:.2f} s'}")
    return results


def say(line: str) -> None:
    """Tell on standard error how far the run has come."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
