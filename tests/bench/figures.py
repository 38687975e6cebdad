"""What llmprep promises of its speed, each promise with the figure that was measured."""

from dataclasses import dataclass

from measure import Result

AUTO, TEXTBOOK = "llmprep", "textbook"


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
    text, ten = measured.sizes[size], measured.tenfold
    auto, book, tiktoken, bare = text[AUTO], text[TEXTBOOK], text["llmprep tiktoken"], text["bare gigatoken"]
    shorter = measured.sizes[smaller[0]][AUTO] if smaller else Result("a smaller text", 0)
    return [
        ratio("wall clock against the textbook way", 30, book, auto),
        ratio("the same with --backend tiktoken", 4, book, tiktoken),
        ratio("throughput of bare gigatoken kept", 0.5, bare, auto),
        ratio("throughput of plain text kept by JSON Lines", 0.5, measured.plain, measured.records),
        ratio("speed of the next smaller text kept", 1 / 1.2, shorter, auto),
        peak("peak memory", 250e6, auto),
        peak(f"peak memory at {size * 10} MB", 250e6, ten),
        peak(f"peak memory at {size * 10} MB, 15 % above {size} MB", 0 if auto.error else 1.15 * auto.peak, ten),
    ]


def ratio(promise: str, wanted: float, base: Result, ours: Result) -> Figure:
    """Compare speeds, of the whole process from its start to the result on disk."""
    if error := base.error or ours.error:
        return Figure(promise, f"{wanted:.2g} x", error, None)
    found = ours.rate / base.rate
    shown = f"{found:.2f} x ({base.rate:.1f} MB/s, {ours.rate:.1f} MB/s)"
    return Figure(promise, f"{wanted:.2g} x", shown, found >= wanted)


def peak(promise: str, most: float, result: Result) -> Figure:
    """Judge a peak."""
    wanted = f"{most / 1e6:.0f} MB at most"
    if result.error:
        return Figure(promise, wanted, result.error, None)
    return Figure(promise, wanted, f"{result.peak / 1e6:.0f} MB", result.peak <= most)
