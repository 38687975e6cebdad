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
        raced = [*(result for race in self.sizes.values() for result in race.values())]
        broken = [r for r in (*raced, self.plain, self.records, self.tenfold) if r.error and r.must_run]
        wrong = [
            f"{name}: {result.tokens} tokens, {TEXTBOOK} has {race[TEXTBOOK].tokens}"
            for race in self.sizes.values()
            for name, result in race.items()
            if name.startswith(AUTO)
            and not (result.error or race[TEXTBOOK].error)
            and result.tokens != race[TEXTBOOK].tokens
        ]
        return [*(f"{result.name}: {result.error}" for result in broken), *wrong]


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
    text = measured.sizes[size]
    auto, bare, tenfold = text[AUTO], text[GIGATOKEN], measured.tenfold
    shorter = measured.sizes[smaller[0]][AUTO] if smaller else Result("a smaller text", 0)
    than = f"at {smaller[0]} MB" if smaller else "of a smaller text"
    return [
        compare("wall clock against the textbook way", "30 x", faster(30), text[TEXTBOOK], auto),
        compare("the same with --backend tiktoken", "4 x", faster(4), text[TEXTBOOK], text[TIKTOKEN]),
        compare("peak memory", "250 MB at most", small, auto),
        compare(f"peak memory at {size * 10} MB", "250 MB at most", small, tenfold),
        compare(f"peak memory at {size * 10} MB against {size} MB", "15 % more at most", constant, auto, tenfold),
        compare("throughput of bare gigatoken kept", "50 %", share(0.5), bare, auto),
        compare("throughput of plain text kept by JSON Lines", "50 %", share(0.5), measured.plain, measured.records),
        compare(f"time per MB against that {than}", "20 % more at most", steady, shorter, auto),
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


def share(part: float) -> Callable[[Result, Result], Verdict]:
    """Compare throughputs of the same text."""
    return lambda full, ours: (
        f"{full.wall / ours.wall:.0%} ({full.rate:.1f} MB/s, {ours.rate:.1f} MB/s)",
        full.wall >= part * ours.wall,
    )


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
