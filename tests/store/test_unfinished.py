"""Promises of a store that is not finished: it is told what is done, and exactly what is to be run again."""

import re
from pathlib import Path

from support.commands import Call
from support.stores import contents

from llmprep.store.sealed import write_sealed
from llmprep.store.unfinished import note_tasks, remedy


def test_the_tasks_that_are_named_finish_a_store(call: Call, corpus: Path) -> None:
    """Merge, inspect and a dry run count the same shards; the tasks that they name are those that are missing."""
    line = ["tokenize", corpus, "--shard-bytes", "9000", "-j1"]
    call(*line, "-o", "whole/")
    for task in ("1/5", "2/5", "5/5"):
        assert call(*line, "-o", "s/", "--task", task).code == 0
    Path("s/tokens-00001.pt").unlink()
    count = len(list(Path("whole").glob("tokens-*.pt")))
    n_missing = count - len(list(Path("s").glob("tokens-*.pt")))
    before = {path: path.read_bytes() for path in Path("s").rglob("*.*") if path.is_file()}

    merged, inspected = call("merge", "s"), call("inspect", "s")
    dry, mine = call(*line, "-o", "s/", "--dry-run"), call(*line, "-o", "s/", "--dry-run", "--task", "3/5", "--json")

    how = "rerun --task 2/5, 3/5, 4/5, then llmprep merge"
    assert (merged.code, inspected.code, call("inspect", "s", "--json").value["n_done"]) == (4, 4, count - n_missing)
    assert merged.notes[0].endswith(how)
    assert inspected.notes == [
        f"llmprep: error: s: is not finished: {count - n_missing} of {count} shards are done; {how}"
    ]
    assert inspected.lines[0].split(maxsplit=1) == ["kind", "token store, unfinished"]
    assert f"{n_missing} of {count} shards are to be built" in dry.lines
    assert mine.value["shards"]["n_missing"] == len(range(2, count, 5))
    assert call(*line, "-o", "s/", "--dry-run", "--shard-bytes", "99").code == 6
    assert {path: path.read_bytes() for path in Path("s").rglob("*.*") if path.is_file()} == before

    for task in re.findall("[0-9]/5", how):
        call(*line, "-o", "s/", "--task", task)
    assert call("merge", "s").code == 0
    assert contents(Path("s")) == contents(Path("whole"))
    assert not Path("s/tasks.json").exists()
    assert f"0 of {count} shards are to be built" in call(*line, "-o", "s/", "--dry-run").lines


def test_tasks_are_those_that_have_the_missing_shards(tmp_path: Path) -> None:
    """Whatever is missing of however many tasks; where no number was noted, or something else, none is named."""
    assert remedy(tmp_path, [3]) == "run the command that builds them again"
    for count in (1, 2, 7, 400):
        note_tasks(tmp_path, count)
        for missing in ([0], [3, 4, 10], range(20)):
            tasks = [task for task in range(1, count + 1) if {*range(40)[task - 1 :: count]} & {*missing}]
            more = f", and {len(tasks) - 8} more tasks" if len(tasks) > 8 else ""
            named = ", ".join(f"{task}/{count}" for task in tasks[:8])
            assert remedy(tmp_path, missing) == f"rerun --task {named}{more}, then llmprep merge"
    write_sealed(tmp_path / "tasks.json", {"tasks": -1})
    assert remedy(tmp_path, [3]) == "run the command that builds them again"
