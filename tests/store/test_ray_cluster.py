"""Promises of building on Ray: the same bytes as anywhere, and errors as they are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.processes import finish, running, wait_for
from support.stores import build, contents, receipts_of, write_files

from llmprep.errors import UsageError


def command(*options: str) -> tuple[str, ...]:
    """A build on Ray."""
    return ("tokenize", *options, "--executor", "ray", "--backend", "tiktoken")


@pytest.mark.slow
def test_ray_survives_a_node_and_writes_the_same_bytes(story: Path, here: Path) -> None:
    """On a cluster that has no core at first, which is said, and loses a node mid-run, the store is the same."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    write_files(here, {"long.txt": story.read_bytes() * 300})
    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    options = ("long.txt", "-o", "s/", "--shard-bytes", "600000", "--address", cluster.address, "--json")
    try:
        with running(*command(*options), cwd=here) as process:
            assert process.stderr is not None
            said = process.stderr.readline()
            begun = bool(receipts_of("s"))
            cluster.add_node(num_cpus=1)
            node = cluster.add_node(num_cpus=1)
            wait_for(lambda: len(receipts_of("s")) >= 2, process, seconds=60)
            cluster.remove_node(node, allow_graceful=False)
            unfinished = not Path("s/manifest.json").exists()
            ended = finish(process, 120)
    finally:
        cluster.shutdown()
    assert (said, begun) == (b"llmprep: note: waiting: the cluster has 0 free cores\n", False)
    assert (ended.code, unfinished) == (0, True), ended
    assert ended.value["command"] == "tokenize"
    build("long.txt", "local", 600_000)
    assert contents("s") == contents("local")


@pytest.mark.slow
def test_ray_started_here_gives_errors_as_they_are(story: Path, here: Path, vocab_dir: Path) -> None:
    """Without an address Ray is started here; the vocabulary travels; a bad file gets its one line and exit code."""
    pytest.importorskip("ray")
    trap = "raise SystemExit('the current folder is no place for modules')"
    write_files(here, {"good.txt": story.read_bytes(), "bad.txt": b"well " * 1000 + b"\x92", "numpy.py": trap})
    options = ("--encoding", "cl100k_base", "--vocab-dir", str(vocab_dir), "--shard-bytes", "20000")
    with running(*command("good.txt", "-o", "good/", *options), cwd=here) as process:
        good = finish(process, 120)
    with running(*command("good.txt", "bad.txt", "-o", "bad/", *options), cwd=here) as process:
        bad = finish(process, 120)
    assert (good.code, good.notes) == (0, [])
    assert good.lines[-1].startswith("good: 2 shards, int32")
    assert (bad.code, bad.lines) == (3, [])
    (line,) = bad.notes
    assert line.startswith("llmprep: error: bad.txt: not valid UTF-8 at byte 5000 (0x92); convert it to UTF-8 first")


def test_ray_is_an_extra(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray, one line names the extra; a folder that was begun can be finished without it."""
    paths = write_files(here, {"a.txt": "some text"})
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"^--executor ray: needs an extra: pip install 'llmprep\[ray\]'$"):
        build(paths, "s", executor="ray")
    build(paths, "s")
