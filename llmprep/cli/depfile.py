"""`--depfile`: what an output was made from, as make reads it."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmprep.errors import OutputError, UsageError, plural

if TYPE_CHECKING:
    from llmprep.cli.groups import Target
    from llmprep.cli.printer import Printer
    from llmprep.output.checking import Output

BEGINS = b"# what llmprep made, and what from\n"
_VARIABLES = {"=": "llmprep_equals", "&": "llmprep_and", "|": "llmprep_or"}
"""What make takes for its own in a rule, and does not where it comes out of a variable."""
_NEVER = re.compile(r"[;\x00-\x1f]|[ \\]$")
"""What no rule of make's can name."""


@dataclass(frozen=True, slots=True)
class Depfile:
    """A file that is to name ``targets`` and what they are made from, once they stand."""

    output: Output
    targets: Sequence[str]
    sources: Sequence[str]


def write_depfile(depfile: Depfile | None) -> None:
    """Write a depfile, if one is wanted, whole or not at all; one that would not change keeps its time."""
    from llmprep.output.writing import open_output

    if depfile is None:
        return
    with open_output(depfile.output) as sink:
        sink.write(BEGINS)
        for line in rules(depfile.targets, depfile.sources):
            sink.write(os.fsencode(line))


def plan_depfile(
    printer: Printer,
    paths: list[str],
    target: Target,
    made: Sequence[str | Output],
    more: Sequence[str | None] = (),
    *,
    dry_run: bool = False,
) -> Depfile | None:
    """Check, before any work, the depfile that is wanted; None if there is none.

    ``made`` are the outputs, or names of what will be made, ``more`` the files that are read besides the inputs, if
    any. Raises `UsageError` where no file is made, or make cannot read a name, and else as `check_output` does.
    """
    from llmprep.output.checking import Kind, check_output

    name, outputs = target.depfile, [each if isinstance(each, str) else each.name for each in made]
    if name is None:
        return None
    if dry_run:
        raise UsageError("--depfile: a dry run writes nothing; leave it out")
    if not outputs or "-" in (name, *outputs):
        raise UsageError("--depfile: is a file that says what another is made from; name that one with -o")
    files, folders = find_sources_of(paths)
    kept = _without_outputs(printer, name, folders, outputs)
    sources = [*dict.fromkeys([*files, *(each for each in more if each and each != "-"), *kept])]
    _require_nameable([*outputs, *sources], outputs)
    kind = Kind("a depfile of llmprep's", BEGINS, "a depfile is for make", "--depfile")
    output = check_output(name, [*sources, *outputs], force=target.force, kind=kind)
    if output.direct:
        raise OutputError(f"{name}: is not a regular file; --depfile writes one")
    return Depfile(output, outputs, sources)


def _without_outputs(printer: Printer, name: str, folders: Sequence[str], outputs: Sequence[str]) -> list[str]:
    """Leave out, and say so, the folders that outputs are written to: that makes a folder newer than its output."""
    written = {os.path.realpath(Path(each).parent) for each in (name, *outputs)}
    left_out = [folder for folder in folders if os.path.realpath(folder) in written]
    if left_out:
        where = f"{plural(len(left_out), 'folder')} that outputs are written to, as {left_out[0]}"
        printer.note(f"{name}: new files in {where}, start no new build; write outputs to another folder")
    return [folder for folder in folders if folder not in left_out]


def _require_nameable(names: Iterable[str], targets: Sequence[str]) -> None:
    for name in names:
        if _NEVER.search(name) or ("%" in name and name in targets):
            raise UsageError(f"--depfile: {name}: make has no way to write this name; rename it")


# --- what a change in which is a change of the output -----------------------------------------------


def find_sources_of(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the regular files that are read, and the folders in which a new one would be read too."""
    from llmprep.documents.expanding import expand_paths
    from llmprep.store.folder import MANIFEST, is_store

    stores = [path for path in paths if is_store(path)]
    others = [path for path in paths if path not in stores]
    files = [path for path, _ in expand_paths(others) if Path(path).is_file()]
    folders = [folder for path in others for folder in _folders(path)]
    return [*(str(Path(store, MANIFEST)) for store in stores), *files], folders


def _folders(path: str) -> Iterator[str]:
    """Yield the folders whose entries decide which files a path means."""
    from llmprep.documents.patterns import match_pattern

    if Path(path).is_dir():
        yield from _below(path)
        return
    parts = path.split("/")
    for number, part in enumerate(parts if glob.has_magic(path) and not os.path.lexists(path) else []):
        if not glob.has_magic(part):
            continue
        base = "/".join(parts[:number])
        found = match_pattern(base) if glob.has_magic(base) else [base or ("/" if number else ".")]
        for folder in sorted(each for each in found if Path(each).is_dir()):
            yield from _below(folder) if part == "**" else [folder]
        if part == "**":
            return


def _below(folder: str) -> Iterator[str]:
    """Yield a folder, and those below it that are neither hidden nor links."""
    for place, names, _ in os.walk(folder.rstrip("/") or "/"):
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield place


# --- as make reads it -------------------------------------------------------------------------------


def rules(targets: Sequence[str], sources: Sequence[str]) -> Iterator[str]:
    r"""Yield the lines: the targets depend on the sources, and one that is gone is no error but a change.

    >>> print(*rules(["out.pt"], ["a b.txt", "c"]), sep="", end="")
    out.pt: \
      a\ b.txt \
      c
    <BLANKLINE>
    a\ b.txt:
    c:
    """
    used = {char for name in (*targets, *sources) for char in _VARIABLES if char in name}
    yield from (f"{_VARIABLES[char]} := {char}\n" for char in sorted(used))
    yield f"{' '.join(map(escape, targets))}:" + (" \\\n" if sources else "\n")
    yield from (f"  {escape(source, after_colon=True)} \\\n" for source in sources[:-1])
    yield from (f"  {escape(source, after_colon=True)}\n\n" for source in sources[-1:])
    yield from (f"{escape(source)}:\n" for source in sources if "%" not in source)  # which would be a pattern


def escape(name: str, *, after_colon: bool = False) -> str:
    r"""Return a name as make reads it in a rule, before or after its colon.

    >>> print(escape("a b#c$d:e"))
    a\ b\#c$$d\:e
    """
    name = f"./{name}" if name.startswith("~") else name
    special = r"(\\*)([ #:*?\[|])" if after_colon else r"(\\*)([ #:*?\[])"
    shown = re.sub(special, r"\1\1\\\2", name.replace("$", "$$"))
    return re.sub("[=&]" if after_colon else "[=&|]", lambda found: f"$({_VARIABLES[found[0]]})", shown)
