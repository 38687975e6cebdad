"""What a run will take of its stores, in sentences and a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from llmprep.errors import plural
from llmprep.preview.explain import summary
from llmprep.preview.plain import number, size, visible
from llmprep.windows.planning import batch_bytes

if TYPE_CHECKING:
    from llmprep.windows.contexts import Contexts
    from llmprep.windows.coverage import Coverage
    from llmprep.windows.planning import RunPlan
    from llmprep.windows.schedule import Schedule


def passes_in_words(passes: Fraction, noun: str = "pass", nouns: str = "passes") -> str:
    """Return a number of passes, to the hundredth.

    >>> [passes_in_words(Fraction(n, 300)) for n in (300, 1000, 2)]
    ['1 pass', '3.33 passes', 'less than a hundredth of a pass']
    """
    if passes.denominator == 1:
        return plural(int(passes), noun, nouns)
    if passes < Fraction(1, 100):
        return f"less than a hundredth of {'an' if noun == 'epoch' else 'a'} {noun}"
    return f"{float(passes):,.2f} {nouns}"


def run_lines(name: str, planned: RunPlan) -> Iterator[str]:
    """Yield what a run takes of one stream, which is called ``name``, and what is lost."""
    coverage, schedule = planned.coverage, planned.schedule
    yield f"{visible(name)}: {summary(coverage, planned.max_length, planned.stride)}"
    yield lost_line(coverage)
    yield step_line(schedule, planned.max_length)
    yield epoch_line(schedule)
    steps, windows = plural(planned.n_steps, "step"), plural(planned.n_windows, "window")
    epochs, are = passes_in_words(planned.epochs, "epoch", "epochs"), "is" if planned.n_steps == 1 else "are"
    yield f"{steps} {are} {epochs}: {windows}, {plural(planned.n_tokens, 'token')}."


def lost_line(coverage: Coverage) -> str:
    """Say which tokens are lost at the beginning and at the end of a stream, and between windows."""
    places = {"in gaps": coverage.n_gap, "at the end": coverage.n_tail}
    lost = [f"{number(count)} {place}" for place, count in places.items() if count]
    in_none = f"; in no window: {' and '.join(lost)}" if lost else ""
    return f"The first token is no target{in_none}."


def step_line(schedule: Schedule, max_length: int) -> str:
    """Say what a step takes."""
    tokens = plural(schedule.windows_per_step * max_length, "token")
    each = f", {number(schedule.batch_size)} on each of {schedule.ranks:,} ranks" if schedule.ranks > 1 else ""
    return f"A step takes {plural(schedule.windows_per_step, 'window')}{each}: {tokens}."


def epoch_line(schedule: Schedule) -> str:
    """Say how many steps an epoch has, and which windows are in none of them."""
    steps = f"An epoch is {plural(schedule.steps_per_epoch, 'step')}"
    if schedule.left_out:
        left = plural(schedule.left_out, "window")
        are = "is" if schedule.left_out == 1 else "are"
        return f"{steps}; {left} of {number(schedule.n_windows)} {are} left out at its end, other ones each time."
    if schedule.last_windows < schedule.windows_per_step and schedule.steps_per_epoch > 1:
        return f"{steps}, the last of {plural(schedule.last_windows, 'window')}."
    return f"{steps}; no window is left out."


def context_lines(contexts: Sequence[Contexts], coverage: Coverage, max_length: int) -> Iterator[str]:
    """Yield a table: how many targets of a pass have how much context, and where windows overlap, how many tokens."""
    overlaps = coverage.overlap > 0 and coverage.n_windows > 1
    n_targets = coverage.n_windows * max_length
    if overlaps:
        times = n_targets / coverage.n_target
        yield f"A token is a target {times:.1f} times a pass, on average, each time with a context of another length."
    yield f"{'context, tokens':<18} {'targets a pass':>20}" + f"{'tokens, by longest':>22}" * overlaps
    for each in contexts:
        span = number(each.longest)
        lengths = span if each.shortest == each.longest else f"{number(each.shortest)} to {span}"
        row = f"{lengths:<18} {number(each.n_targets):>20}" + f"{number(each.n_tokens):>22}" * overlaps
        yield row


def room_line(schedule: Schedule, max_length: int, n_bytes: int) -> str:
    """Say how much disk and memory it takes; ``n_bytes`` lie on disk."""
    batch = size(batch_bytes(schedule.batch_size, max_length)) + " on each rank" * (schedule.ranks > 1)
    return f"On disk: {size(n_bytes)}, which are mapped, not copied. A batch of inputs and targets, int64: {batch}."
