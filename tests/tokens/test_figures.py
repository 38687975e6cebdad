"""Promises of figures: one record a source, or one for very many; gaps are runs in order."""

from __future__ import annotations

from support.streams import sha256

from llmprep.documents.source import Counts, Source
from llmprep.tokens.figures import MAX_SOURCES, Figures, are_gaps, sum_or_list


def counted(number: int, n_empty: int = 0) -> Counts:
    """A source that has been read, which holds its own number."""
    source = Source(f"/x/{number}", f"{number}.txt")
    data = b"%d" % number
    return Counts(source, n_bytes=len(data), n_tokens=2, n_documents=1, n_empty=n_empty, sha256=sha256(data))


def test_records_are_listed_or_summed_up() -> None:
    """Up to `MAX_SOURCES` records are listed; of more, one has the sums, and the hash of ``sha256sum``'s lines."""
    many = [counted(number, n_empty=number % 2) for number in range(MAX_SOURCES + 1)]
    names = [f"{number}.txt" for number in range(MAX_SOURCES + 1)]
    listing = "".join(f"{sha256(b'%d' % number)}  {name}\n" for number, name in enumerate(names))

    assert [record["name"] for record in sum_or_list(many[:-1])] == names[:-1]
    assert Figures(many).sources == [
        {
            "name": f"{MAX_SOURCES + 1} inputs",
            "bytes": sum(len(str(number)) for number in range(MAX_SOURCES + 1)),
            "sha256": sha256(listing.encode()),
            "tokens": 2 * MAX_SOURCES + 2,
            "documents": MAX_SOURCES + 1,
            "empty": MAX_SOURCES // 2,
        }
    ]
    assert "empty" not in sum_or_list([counted(0)] * (MAX_SOURCES + 1))[0]
    assert Figures(many, records=[{"name": "a"}]).sources == [{"name": "a"}]  # what a file says of its sources stands


def test_a_record_says_what_was_empty_only_if_something_was() -> None:
    """``empty`` and ``gaps`` stand in a record where there are any; None says that the gaps are too many."""
    plain, few, many = counted(3), counted(3, n_empty=2), counted(3, n_empty=9)
    few.gaps, many.gaps = [[2, 2]], None

    record, *others = sum_or_list([plain, few, many])

    assert record == {"name": "3.txt", "bytes": 1, "sha256": sha256(b"3"), "tokens": 2, "documents": 1}
    assert others == [record | {"empty": 2, "gaps": [[2, 2]]}, record | {"empty": 9, "gaps": None}]


GAPS: tuple[object, ...] = (None, [], [[1, 1]], [[1, 2], [4, 1], [9, 1 << 40]], [[1, (1 << 62) - 1]])
NO_GAPS: tuple[object, ...] = (
    *("", {}, [1, 2], [[0, 1]], [[1, 0]], [[1, 2, 3]], [(1, 2)], [[1, True]], [[1, 2.0]], [[1, 1 << 62]]),
    [[1, 2], [3, 1]],  # two runs that touch are one
    [[4, 1], [1, 2]],
)


def test_gaps_are_runs_in_order() -> None:
    """Gaps are None or runs [number, count] from 1 on, in order and apart; nothing in them is trusted."""
    assert [value for value in GAPS if not are_gaps(value)] == []
    assert [value for value in NO_GAPS if are_gaps(value)] == []
