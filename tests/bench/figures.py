"""What llmprep promises of its speed, each promise with the figure that was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from measure import Result

AUTO, TIKTOKEN = "llmprep", "llmprep tiktoken"
TEXTBOOK, GIGATOKEN = "textbook", "bare gigatoken"
PEAK_BYTES = 250e6

Verdict = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Measured:
    """All results.

    ``sizes`` maps megabytes to contestants to results; ``plain`` and ``records`` are of llmprep on the largest text and
    on the same as JSON Lines; ``tenfold`` is of llmprep on ten times that text.
    """

    sizes: dict[int, dict[str, Result]]
    plain: Result
    records: Result
    tenfold: Result

    def failures(self) -> list[str]:
        """What must not be: a contestant of ours without a result, or with other tokens than the textbook way."""
        alone = {result.name: result for result in (self.plain, self.records, self.tenfold)}
        found = []
        for race in (*self.sizes.values(), alone):
            known = race[TEXTBOOK].tokens if TEXTBOOK in race else 0
            for name, result in race.items():
                if result.error and result.must_run:
                    found.append(f"{name}: {result.error}")
                elif name.startswith(AUTO) and known not in (0, result.tokens):
                    found.append(f"{name}: {result.tokens} tokens, {TEXTBOOK} has {known}")
        return found


@dataclass(frozen=True, slots=True)
class Figure:
    """A promise. ``met`` is None if it could not be measured."""

    promise: str
    wanted: str
    measured: str
    met: bool | None


def figures(measured: Measured) -> list[Figure]:
    """Return every promise, in a fixed order, at the largest size."""
    size, *smaller = sorted(measured.sizes, reverse=True)
    text, tenfold = measured.sizes[size], measured.tenfold
    auto = text[AUTO]
    shorter = measured.sizes[smaller[0]][AUTO] if smaller else Result("a smaller text", 0)
    return [
        compare("wall clock against the textbook way", "30 x", faster(30), text[TEXTBOOK], auto),
        compare("the same with --backend tiktoken", "4 x", faster(4), text[TEXTBOOK], text[TIKTOKEN]),
        compare("peak memory", "250 MB at most", small, auto),
        compare(f"peak memory at {size * 10} MB", "250 MB at most", small, tenfold),
        compare(f"peak memory at {size * 10} MB against {size} MB", "15 % more at most", constant, auto, tenfold),
        compare("throughput of bare gigatoken kept", "50 %", half, text[GIGATOKEN], auto),
        compare("throughput of plain text kept by JSON Lines", "50 %", half, measured.plain, measured.records),
        compare("time per MB against that of the next smaller text", "20 % more at most", steady, shorter, auto),
    ]


def compare(promise: str, wanted: str, judge: Callable[..., Verdict], *results: Result) -> Figure:
    """Judge results, if all are there."""
    missing = [f"{result.name}: {result.error}" for result in results if result.error]
    if missing:
        return Figure(promise, wanted, "; ".join(missing), None)
    return Figure(promise, wanted, *judge(*results))


def faster(times: float) -> Callable[[Result, Result], Verdict]:
    """Compare wall clocks, from the start of the process to the result on disk."""
    return lambda slow, fast: (
        f"{slow.wall / fast.wall:.1f} x ({slow.wall:.2f} s : {fast.wall:.2f} s)",
        slow.wall >= times * fast.wall,
    )


def half(full: Result, ours: Result) -> Verdict:
    """Compare throughputs of the same text."""
    return f"{full.wall / ours.wall:.0%} ({full.rate:.1f} MB/s, {ours.rate:.1f} MB/s)", full.wall >= ours.wall / 2


def small(result: Result) -> Verdict:
    """Judge a peak."""
    return f"{result.peak / 1e6:.0f} MB", result.peak <= PEAK_BYTES


def constant(one: Result, ten: Result) -> Verdict:
    """Compare peaks."""
    return f"{ten.peak / one.peak - 1:+.0%}", ten.peak <= 1.15 * one.peak


def steady(short: Result, long: Result) -> Verdict:
    """Compare times per megabyte."""
    change = short.rate / long.rate - 1
    return f"{change:+.0%} ({1e3 / short.rate:.1f} ms, {1e3 / long.rate:.1f} ms)", change <= 0.2
