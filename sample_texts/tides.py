"""A small tide table calculator.

The height of the sea is modelled as a mean level plus a few cosine waves, one
for each constituent.  The program samples the curve, finds its turning points
and prints a table for a harbour that does not exist.

    python tides.py --days 2
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

HOURS_PER_DAY = 24
STEP = 0.1  # hours between samples when looking for a turning point
GRAPH_WIDTH = 40


@dataclass(frozen=True)
class Constituent:
    """One wave: how high it is, how long it takes, and where it starts."""

    name: str
    amplitude: float  # metres
    period: float  # hours
    phase: float  # degrees

    def height(self, hour: float) -> float:
        """Return this wave's share of the height, in metres."""
        angle = 2 * math.pi * hour / self.period - math.radians(self.phase)
        return self.amplitude * math.cos(angle)


@dataclass(frozen=True)
class Turn:
    """A high or low water."""

    hour: float
    height: float
    is_high: bool


class Harbour:
    """A named place with a mean level and its own mixture of waves."""

    def __init__(self, name: str, mean: float, waves: list[Constituent]) -> None:
        self.name = name
        self.mean = mean
        self.waves = waves

    def height(self, hour: float) -> float:
        """Return the height of the sea at an hour counted from day 0."""
        return self.mean + sum(wave.height(hour) for wave in self.waves)

    def turns(self, start: float, stop: float) -> Iterator[Turn]:
        """Yield every high and low water between two hours, in order."""
        steps = round((stop - start) / STEP)
        for index in range(steps):
            middle = start + index * STEP
            before = self.height(middle - STEP)
            here = self.height(middle)
            after = self.height(middle + STEP)
            for is_high, sign in ((True, 1), (False, -1)):
                if sign * here > sign * before and sign * here >= sign * after:
                    hour = refine(
                        lambda h, sign=sign: sign * self.height(h),
                        middle - STEP,
                        middle + STEP,
                    )
                    yield Turn(hour, self.height(hour), is_high)


def refine(curve: Callable[[float], float], low: float, high: float) -> float:
    """Narrow an interval around a peak until it is under a second wide."""
    while high - low > 1 / 3600:
        third = (high - low) / 3
        if curve(low + third) < curve(high - third):
            low += third
        else:
            high -= third
    return (low + high) / 2


def clock(hour: float) -> str:
    """Format hours since day 0 as a time of day: 25.5 becomes '01:30'."""
    minutes = round(hour * 60) % (HOURS_PER_DAY * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def print_table(harbour: Harbour, days: int) -> None:
    """Print the turning points of each day, with a bar for the height."""
    tallest = harbour.mean + sum(wave.amplitude for wave in harbour.waves)
    print(f"Tides at {harbour.name}, {days} day{'s' if days != 1 else ''}")
    for day in range(days):
        start = day * HOURS_PER_DAY
        print(f"\nDay {day + 1}")
        for turn in harbour.turns(start, start + HOURS_PER_DAY):
            label = "high" if turn.is_high else "low"
            # Heights below the datum get an empty bar, never a negative one.
            cells = max(0, round(GRAPH_WIDTH * turn.height / tallest))
            bar = "~" * cells
            print(f"  {clock(turn.hour)}  {label:<4}  {turn.height:5.2f} m  {bar}")


def main(argv: list[str] | None = None) -> int:
    """Read the number of days from the command line and print the table."""
    parser = argparse.ArgumentParser(description="Print an invented tide table.")
    parser.add_argument("--days", type=int, default=3, help="days to print")
    options = parser.parse_args(argv)
    if options.days < 1:
        parser.error("--days must be at least 1")

    port = Harbour(
        name="Port Ennick",
        mean=2.80,
        waves=[
            Constituent("M2", amplitude=1.68, period=12.4206, phase=118.0),
            Constituent("S2", amplitude=0.54, period=12.0, phase=151.5),
            Constituent("N2", amplitude=0.33, period=12.6583, phase=97.0),
            Constituent("K1", amplitude=0.11, period=23.9345, phase=43.2),
            Constituent("M4", amplitude=0.17, period=6.2103, phase=146.0),
        ],
    )
    print_table(port, options.days)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
