"""Promises of threads: results and errors in order, work bounded, no thread left; hashes made in order."""

import hashlib
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.streams import text_block

from llmprep.documents.blocks import Block
from llmprep.errors import LlmprepError
from llmprep.tokens.threads import PART_BYTES, Hashing, in_parts, map_in_order


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Soon after a test there are no more threads than before."""
    before, end = threading.active_count(), time.monotonic() + 60
    yield
    while threading.active_count() > before:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_results_come_in_order_and_items_are_taken_a_few_ahead(jobs: int) -> None:
    """However long each takes, results come in order; whoever stops reading has few items taken, and no thread left."""
    taken = itertools.count()

    def work(item: int) -> int:
        time.sleep(item * 7 % 4 / 1000)
        return item

    results: Any = map_in_order(work, iter(lambda: next(taken), None), jobs)
    assert list(itertools.islice(results, 50)) == list(range(50))
    results.close()
    assert next(taken) <= 50 + 2 * jobs + 1


def test_one_job_is_no_thread_and_several_are_as_many() -> None:
    """With one job everything happens in the caller's thread; with n, n items are worked on together."""
    together = threading.Barrier(3)
    assert set(map_in_order(lambda _: threading.current_thread(), range(3), 1)) == {threading.current_thread()}
    assert list(map_in_order(lambda item: together.wait(10) * 0 + item, range(9), 3)) == list(range(9))


@pytest.mark.parametrize("jobs", [1, 2, 6])
@pytest.mark.parametrize("error", [LlmprepError, ValueError])
@pytest.mark.parametrize(("fails_at", "items_end_at"), [(7, 100), (99, 7), (7, 9)])
def test_the_first_error_is_raised(fails_at: int, items_end_at: int, error: type[Exception], jobs: int) -> None:
    """Later errors that come sooner, of work or of reading an item, do not hide the first; all before it comes."""

    def items() -> Iterator[int]:
        yield from range(items_end_at)
        raise LlmprepError(str(items_end_at))

    def work(item: int) -> int:
        if item >= fails_at:
            time.sleep(0.03 if item == fails_at else 0)
            raise error(str(item))
        return item

    results = map_in_order(work, items(), jobs)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(error if fails_at == 7 else LlmprepError, match=r"^7$"):
        next(results)


def test_an_interrupt_stops_at_once() -> None:
    """An exception that is no error of ours, as an interrupt is, does not wait for what is being computed."""
    over = threading.Event()

    def items() -> Iterator[int]:
        yield from range(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(map_in_order(lambda _: over.wait(20) or pytest.fail("it was waited for"), items(), 4))
    over.set()


@given(sizes=st.lists(st.integers(0, 12), max_size=20), limit=st.integers(0, 20))
def test_small_blocks_go_together(sizes: list[int], limit: int) -> None:
    """Parts hold every block before an error, are as few as can be, and over the limit only if one block is."""

    def blocks() -> Iterator[Block]:
        yield from (text_block("x" * size) for size in sizes)
        raise LlmprepError

    parts: list[list[Block]] = []
    with pytest.raises(LlmprepError):
        parts.extend(in_parts(blocks(), limit))
    assert [len(block.data) for part in parts for block in part] == sizes
    assert list(in_parts((block for part in parts for block in part), limit)) == parts
    held = [sum(len(block.data) for block in part) for part in parts]
    assert all(size <= limit or len(part) == 1 for size, part in zip(held, parts, strict=True))
    assert all(size + len(after[0].data) > limit or size == limit for size, after in zip(held, parts[1:], strict=False))


@pytest.mark.parametrize("threaded", [False, True])
def test_hashes_are_made_in_order(threaded: bool) -> None:
    """Updates are made one after the other, and all of them before the block ends, when the thread is gone."""
    before, parts = threading.active_count(), [b"%d " % k * (k % 50) for k in range(2000)]
    for count in (0, 1, len(parts)):
        digest = hashlib.sha256()
        with Hashing(threaded=threaded) as run:
            assert threading.active_count() == before + threaded
            for part in parts[:count]:
                run(digest.update, part)
        assert digest.digest() == hashlib.sha256(b"".join(parts[:count])).digest()
        assert threading.active_count() == before
    with suppress(LlmprepError), Hashing(threaded=threaded):
        raise LlmprepError


def test_hashing_in_a_thread_keeps_close() -> None:
    """A thread that is slower than its caller holds it up, so that what waits to be hashed stays bounded."""
    done: list[int] = []

    def work(part: bytes) -> None:
        time.sleep(0.0005)
        done.append(len(part))

    with Hashing(threaded=True) as run:
        for k in range(300):
            run(work, bytes(PART_BYTES))
            assert k - len(done) <= 66
    assert len(done) == 300
