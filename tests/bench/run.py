"""Compare llmprep with the textbook way and with nanoGPT's, on the same text, in one run: `python run.py [MB ...]`.

Contestants take turns, each in a process of its own, several rounds for each size; medians are shown. "s" is the wall
clock from the start of the process to its end, so to the result on disk (only llmprep waits until the disk has it).
Writes build/bench.json. The exit code is 1 if any has failed, or llmprep has other tokens than the textbook way.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from contestants import CONTESTANTS, command_of
from gpt2 import BUILD, FOLDER
from measure import Result, race, say
from report import AUTO, TEXTBOOK, machine, promises, show, summary

SLOW_SECONDS = 20
"""A contestant that takes longer has only one round at that size."""


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sizes", metavar="MB", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--rounds", type=int, default=3, help="rounds at most")
    arguments = parser.parse_args()
    sizes = sorted(set(arguments.sizes))
    texts = {size: FOLDER / f"english-{size}.txt" for size in (*sizes, sizes[-1] * 10)}
    say("making texts")  # in another process: this one stays small
    subprocess.run([sys.executable, str(Path(__file__).with_name("texts.py")), *map(str, texts.values())], check=True)
    races = {size: {name: contestant(name, texts[size]) for name in CONTESTANTS} for size in sizes}
    for results in races.values():
        race(results.values(), arguments.rounds, SLOW_SECONDS)
    tenfold = contestant(AUTO, texts[sizes[-1] * 10])
    race([tenfold], min(arguments.rounds, 2))
    promised = promises(races, tenfold)
    show(races, promised)
    values = {
        "machine": machine(),
        "megabytes": {size: [*map(summary, results.values())] for size, results in races.items()},
        "tenfold": summary(tenfold),
        "promises": promised,
    }
    (BUILD / "bench.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    failed = [line for results in (*races.values(), {AUTO: tenfold}) for line in failures(results)]
    for line in failed:
        say(f"failed: {line}")
    return int(bool(failed))


def contestant(name: str, text: Path) -> Result:
    """Return a contestant that has not run yet."""
    return Result(name, text.stat().st_size, command_of(name, text))


def failures(results: dict[str, Result]) -> list[str]:
    """What must not be: a contestant without a result, or llmprep with other tokens than the textbook way."""
    known = results[TEXTBOOK].tokens if TEXTBOOK in results else 0
    return [
        f"{name}: {result.error or f'{result.tokens} tokens, {TEXTBOOK} has {known}'}"
        for name, result in results.items()
        if result.error or (name.startswith(AUTO) and known not in (0, result.tokens))
    ]


if __name__ == "__main__":
    sys.exit(main())
