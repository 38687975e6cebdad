"""Promises of a plan: its figures, and the places that each step takes, are what going through the steps gives.

Of ``windows/schedule.py`` and ``windows/planning.py``.
"""

from collections import Counter
from fractions import Fraction
from itertools import chain, count, islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import window_shapes

from llmprep.errors import DataError, UsageError
from llmprep.windows.contexts import count_contexts
from llmprep.windows.planning import Goal, plan_run
from llmprep.windows.schedule import Sampling

samplings = st.tuples(st.integers(1, 5), st.integers(1, 4), st.booleans())
"""(batch_size, ranks, drop_last)."""


def batches_of_an_epoch(n_windows: int, batch_size: int, ranks: int, drop_last: bool) -> list[list[list[int]]]:
    """The places of each rank's batches, step by step, as each rank deals them out for itself."""
    shares = [list(range(rank, n_windows, ranks)) for rank in range(ranks)]
    cut = [[share[k : k + batch_size] for k in range(0, len(share), batch_size)] for share in shares]
    steps = [[batches[k] if k < len(batches) else [] for batches in cut] for k in range(max(map(len, cut)))]
    even = drop_last or ranks > 1
    return [step for step in steps if not even or all(len(batch) == batch_size for batch in step)]


@given(
    shape=window_shapes,
    sampled=samplings,
    wanted=st.integers(1, 40),
    goal=st.sampled_from(["steps", "tokens", "epochs"]),
)
def test_a_plan_is_what_counting_gives(
    shape: tuple[int, int, int], sampled: tuple[int, int, bool], wanted: int, goal: str
) -> None:
    """For any stream, windows, ranks and goal: steps, windows, tokens, epochs, and what is left out, one by one."""
    n_tokens, max_length, stride = shape
    sampling = Sampling(max_length, stride, *sampled)
    starts = range(0, n_tokens - max_length, stride)
    steps = batches_of_an_epoch(len(starts), *sampled)
    if not steps:
        with pytest.raises(UsageError if starts else DataError, match="no whole step" if starts else "no window"):
            plan_run(n_tokens, sampling, Goal())
        return
    lengths: dict[str, Any] = {"steps": wanted, "tokens": wanted * 7, "epochs": Fraction(wanted, 4)}
    planned = plan_run(n_tokens, sampling, Goal(**{goal: lengths[goal]}))
    schedule, taken, n_steps = planned.schedule, 0, 0
    in_epoch = sum(len(batch) for step in steps for batch in step)
    for number in count():
        reached = {"steps": number, "tokens": taken * max_length, "epochs": Fraction(taken, in_epoch)}[goal]
        if reached >= lengths[goal]:
            break
        step = steps[number % len(steps)]
        epoch, first, end = schedule.span(number)
        assert (epoch, list(range(first, end))) == (number // len(steps), sorted(chain(*step)))
        taken, n_steps = taken + end - first, number + 1
    assert (planned.n_steps, planned.n_windows, planned.n_tokens) == (n_steps, taken, taken * max_length)
    assert planned.epochs == Fraction(taken, in_epoch)
    assert (schedule.steps_per_epoch, schedule.left_out) == (len(steps), len(starts) - in_epoch)
    assert schedule.left_out < schedule.windows_per_step


@given(shape=window_shapes)
def test_contexts_are_counted_in_powers_of_two(shape: tuple[int, int, int]) -> None:
    """Each length up to max_length is in one line, with the targets and tokens that a loop over all pairs finds."""
    n_tokens, max_length, stride = shape
    lengths: Counter[int] = Counter()
    longest: dict[int, int] = {}
    for start in range(0, n_tokens - max_length, stride):
        for k in range(1, max_length + 1):
            lengths[k] += 1
            longest[start + k] = max(k, longest.get(start + k, 0))
    lines = list(count_contexts(n_tokens, max_length, stride))
    assert [k for line in lines for k in range(line.shortest, line.longest + 1)] == list(range(1, max_length + 1))
    assert [line.longest for line in lines[:-1]] == list(islice((2**k for k in count()), len(lines) - 1))
    for line in lines:
        within = range(line.shortest, line.longest + 1)
        assert line.n_targets == sum(lengths[k] for k in within)
        assert line.n_tokens == sum(k in within for k in longest.values())


def test_what_makes_no_plan_is_refused() -> None:
    """Two lengths of a run, one that is not positive, and sizes that are not allowed."""
    wrong: dict[str, Any]
    for wrong, said in (({"steps": 1, "epochs": 2}, "steps and epochs"), ({"tokens": 0}, "tokens 0: must be")):
        with pytest.raises(UsageError, match=said):
            Goal(**wrong)
    with pytest.raises(UsageError, match="ranks 0: must be from 1"):
        Sampling(4, 4, ranks=0)
