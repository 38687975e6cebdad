"""`inspect --verify` and `--check`: whether all that is stated holds, and whether it is good to train on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmprep.cli.groups import Words
from llmprep.cli.printer import Printer
from llmprep.cli.progress import Far
from llmprep.errors import DataError, UsageError
from llmprep.preview import plain

if TYPE_CHECKING:
    from llmprep.cli.looking import Opened
    from llmprep.inputs import Input
    from llmprep.store.findings import Finding

VERDICT_COLUMNS = 13


@dataclass(frozen=True, slots=True)
class Checks:
    """What is checked."""

    verify: Annotated[bool, typer.Option("--verify", help="Recompute every hash and check every invariant.")] = False
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Count what ruins a training run: unknown and commonest tokens, empty documents, copies of documents, "
            "val in train. Exit code 3 where it would.",
        ),
    ] = False
    model_vocab: Annotated[
        int | None,
        typer.Option(
            "--model-vocab",
            metavar="N",
            min=1,
            help="With --check: the model has room for N ids, its vocab_size; a larger id ruins a run.",
        ),
    ] = None

    @property
    def wanted(self) -> bool:
        """Whether anything is."""
        return self.verify or self.check

    def refuse_alone(self) -> None:
        """Raise `UsageError` for an option that says how to check, where nothing is."""
        if self.model_vocab is not None and not self.check:
            raise UsageError("--model-vocab: is only used with --check")

    def results(self, found: Input, opened: Opened, words: Words, vocab_dir: str | None) -> Results:
        """Return what is found, which is looked for when it is asked for."""
        verified = _verify(found) if self.verify else None
        return Results(verified, _check(found, opened, self.model_vocab, words, vocab_dir) if self.check else None)


@dataclass(frozen=True, slots=True)
class Results:
    """Lines of what holds; findings by name, as values of JSON objects. None of what was not asked for."""

    verified: Iterable[str] | None
    checked: Iterable[tuple[str, Mapping[str, Any]]] | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Results:
        """Return the results that were said, to be said again."""
        checked = said.get("checked")
        return cls(said.get("verified"), None if checked is None else checked.items())

    def say(self, printer: Printer) -> dict[str, Any]:
        """Say them; return them as values of a JSON object."""
        said: dict[str, Any] = {}
        if self.verified is not None:
            said["verified"] = list(self.verified)
            printer.lines(f"verified: {plain.visible(line)}" for line in said["verified"])
        if self.checked is not None:
            said["checked"] = dict(self.checked)
            printer.lines(_worded(name, values) for name, values in said["checked"].items())
        return said


def _worded(name: str, values: Mapping[str, Any]) -> str:
    return f"{values['verdict']:<{VERDICT_COLUMNS}} {name.replace('_', ' ')}: {plain.visible(values['says'])}"


def refuse_ruinous(path: str, said: Mapping[str, Any]) -> None:
    """Raise `DataError` that names the checks which were not passed, if there are any."""
    ruinous = [name for name, values in said.get("checked", {}).items() if values["verdict"] == "ruins a run"]
    if ruinous:
        names = ", ".join(name.replace("_", " ") for name in ruinous)
        raise DataError(f"{path}: --check found what ruins a training run: {names}")


def _verify(found: Input) -> Iterator[str]:
    from llmprep.formats.verify import verify_file
    from llmprep.ptfile.reading import PtFile
    from llmprep.store.reading import TokenStore
    from llmprep.store.verify import verify_store

    match found:
        case TokenStore():
            return verify_store(found.folder)
        case PtFile():
            return verify_file(found)
        case _:
            return iter(())


def _check(
    found: Input, opened: Opened, model_vocab: int | None, words: Words, vocab_dir: str | None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each finding's name and values, and show meanwhile how far it is."""
    from llmprep.ptfile.reading import PtFile
    from llmprep.store.check import Asking, check_file, check_store
    from llmprep.store.reading import TokenStore

    far = Far()

    def tell(doing: str, n_done: int, n_all: int) -> None:
        nonlocal far
        far = Far(n_done * opened.id_bytes, n_all * opened.id_bytes, n_done, doing)

    asking = Asking(model_vocab, opened.refers, vocab_dir, words.printer().note, tell)
    with words.progress(look=lambda: far):
        findings: Iterator[Finding] = iter(())
        match found:
            case TokenStore():
                findings = check_store(found, asking)
            case PtFile():
                findings = check_file(found, opened.ids, asking)
        for finding in findings:
            own = {"verdict": finding.verdict, "value": finding.value, "says": finding.says}
            yield finding.check, {**own, **finding.figures}
