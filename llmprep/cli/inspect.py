"""`inspect`: what a token store or a .pt file is, a look inside, and a check of all it states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmprep.cli.batches import Batches, show_batches
from llmprep.cli.checks import Checks, Results, refuse_ruinous
from llmprep.cli.facts import fact_lines, refuse_text, tell_unfinished
from llmprep.cli.looking import Look, Opened, find_text, show_windows
from llmprep.cli.pack import packing_facts, store_packings
from llmprep.cli.picture import Drawings, Pictures, inspected_page
from llmprep.cli.printer import Printer
from llmprep.cli.spread import spread
from llmprep.cli.steps import Steps, show_steps
from llmprep.cli.subject import Subject
from llmprep.cli.vocabularies import inspect_vocabulary, refuse_beside_vocabulary
from llmprep.errors import UsageError

if TYPE_CHECKING:
    from llmprep.documents.source import LeftOut
    from llmprep.inputs import Input
    from llmprep.ptfile.reading import PtFile
    from llmprep.store.reading import TokenStore

BATCHES_SHOWN = 2
WITH_WINDOWS = ("token store", "tokens", "windows")
"""Kinds that batches can be made of."""
COMMON = ("encoding", "fingerprint", "n_tokens", "options", "content_sha256")
"""What ``meta`` says of any file; a store's shard has no content hash."""


@spread
def inspect(
    subject: Subject,
    look: Look,
    steps: Steps,
    checks: Checks,
    pictures: Pictures,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file that is not a page or picture of llmprep's.")
    ] = False,
) -> None:
    """Say what a token store, a .pt file or a vocabulary is, from what, with which options; look inside; check it.

    Examples:
      llmprep inspect store/ --verify --check --model-vocab 50304
      llmprep inspect store/ --step 100-110 --max-length 1024 --batch-size 32 --ranks 64
      llmprep inspect tokenizer.json
    """
    from llmprep.inputs import open_input

    printer, batches = pictures.printer(), steps.batches
    if steps.chosen(look, pictures, {"--verify": checks.verify, "--check": checks.check, "--force": force}):
        show_steps(printer, subject, steps)
        return
    batches.chosen(printer)
    checks.refuse_alone()
    if _is_vocabulary(printer, subject.path):
        others = subject.of_tokens | {"--force": force, "--check": checks.check}
        refuse_beside_vocabulary(subject.path, look, batches, pictures, others)
        inspect_vocabulary(printer, subject.itself(), verify=checks.verify)
        return
    drawings = _check_drawings(pictures, subject.path, force=force)
    opened = _describe(found := open_input([subject.path]), subject)
    _refuse_unseen(opened, look, batches, drawings, checks)
    say = partial(_say, opened, subject, look, batches)
    said = say(checks.results(found, opened, pictures.words, subject.vocab_dir), printer)
    printer.object({"command": "inspect", "path": subject.path, **opened.facts, **said})
    again = partial(say, Results.of(said))
    drawings.write(printer, subject.path, again, lambda: batches.on_page(inspected_page(opened, subject.vocab_dir)))
    refuse_ruinous(subject.path, said)


def _check_drawings(pictures: Pictures, path: str, *, force: bool) -> Drawings:
    drawings = pictures.check([path], [], force=force)
    if force and not drawings.wanted:
        raise UsageError("--force: is only used with --html or --svg")
    return drawings


def _is_vocabulary(printer: Printer, path: str) -> bool:
    """Tell whether a path is the file of a vocabulary. Of a store that is not finished say so, and raise."""
    from llmprep.store.folder import MANIFEST, is_store
    from llmprep.vocabulary.opening import is_vocabulary

    folder = Path(path)
    if not is_store(folder):
        return is_vocabulary(path)
    if not (folder / MANIFEST).exists():
        tell_unfinished(printer, folder)
    return False


def _refuse_unseen(opened: Opened, look: Look, batches: Batches, drawings: Drawings, checks: Checks) -> None:
    """Raise `UsageError` for a look into what does not hold it."""
    if batches.batch_size is not None and opened.facts["kind"] not in WITH_WINDOWS:
        raise UsageError(f"{opened.path}: holds no windows to make batches of; leave out --batch-size")
    if look.inside and not opened.n_tokens:
        raise UsageError(f"{_lacks(opened)}, so --window, --around and --where do not apply")
    if checks.check and not opened.n_tokens:
        raise UsageError(f"{_lacks(opened)}, so --check does not apply")
    if drawings.html is not None and not opened.n_tokens:
        raise UsageError(f"{_lacks(opened)}, to show on a page; leave out --html")


def _lacks(opened: Opened) -> str:
    gaps = ", as its windows leave gaps" if opened.facts["kind"] == "windows" else ""
    return f"{opened.path}: holds no continuous token ids{gaps}"


def _say(
    opened: Opened, subject: Subject, look: Look, batches: Batches, results: Results, printer: Printer
) -> dict[str, Any]:
    """Say all that is wanted; return, as values of a JSON object, what are no facts."""
    printer.lines(fact_lines(opened.facts))
    said = results.say(printer)
    shows_batches = batches.batch_size is not None
    if opened.n_tokens and (look.inside or not (said or shows_batches)):
        said["shown"] = show_windows(printer, opened, look, subject.vocab_dir)
    if shows_batches:
        printer.lines([""])
        said["batches"] = _show_batches(printer, opened, batches, subject.vocab_dir)
    return said


def _show_batches(printer: Printer, opened: Opened, batches: Batches, vocab_dir: str | None) -> dict[str, Any]:
    text = find_text(printer, opened.refers, vocab_dir) if printer.words else None
    shape = opened.max_length, opened.stride
    decoder = None if text is None else text.decoder
    return show_batches(printer, Path(opened.path), shape, batches, BATCHES_SHOWN, decoder)


# --- the description ------------------------------------------------------------------------------


def _describe(found: Input, subject: Subject) -> Opened:
    """Return what was found as one stream of ids with its description."""
    from llmprep.formats.weights import has_weights
    from llmprep.ptfile.reading import PtFile
    from llmprep.store.reading import TokenStore
    from llmprep.vocabulary.references import Reference

    match found:
        case TokenStore():
            return _describe_store(found, subject)
        case PtFile() if has_weights(found):
            nothing = Reference("")
            return Opened(subject.path, _weights_facts(found), 0, [], None, nothing, *subject.shape())
        case PtFile():
            return _describe_file(found, subject)
        case _:
            return refuse_text(Path(subject.path))


def _describe_store(store: TokenStore, subject: Subject) -> Opened:
    from llmprep.formats.vocabularies import check_vocabulary
    from llmprep.store.provenance import stretches_of_store

    manifest, refers = store.manifest, check_vocabulary(subject.path, store.refers, subject.which())
    max_length, stride = subject.shape()
    facts = {
        "kind": "token store",
        "encoding": manifest.encoding,
        **({"fingerprint": manifest.fingerprint} if manifest.fingerprint else {}),
        "n_tokens": manifest.n_tokens,
        "options": manifest.options,
        "content_sha256": manifest.content_sha256,
        "n_documents": manifest.n_documents,
        "n_sources": len(manifest.names),
        **_left_out(manifest.left_out),
        "n_shards": len(manifest.shards),
        "dtype": manifest.dtype,
        "splits": {name: [*span] for name, span in manifest.splits.items()},
        **_windows_facts(manifest.n_tokens, max_length, stride),
        **store_packings(store),
    }
    stretches = stretches_of_store(manifest)
    return Opened(subject.path, facts, len(store), store, stretches, refers, max_length, stride)


def _describe_file(file: PtFile, subject: Subject) -> Opened:
    from llmprep.formats.meta import checked_meta
    from llmprep.formats.packing import is_packing, read_packing
    from llmprep.formats.vocabularies import vocabulary_of
    from llmprep.store.provenance import stretches_of_file
    from llmprep.tokens.figures import left_out_of

    meta = checked_meta(file)
    options, refers = meta["options"], vocabulary_of(file, subject.which())
    shapes = {key: f"{list(array.shape)} {file.dtypes[key]}" for key, array in file.tensors.items()}
    common: dict[str, Any] = {key: meta[key] for key in COMMON if key in meta}
    facts: dict[str, Any] = {"kind": meta["kind"], **common, "n_sources": len(meta["sources"])}
    facts |= (
        _left_out(left_out_of(meta)) | (packing_facts(read_packing(file).fill) if is_packing(file) else {}) | shapes
    )
    ids = _continuous_ids(file, meta)
    is_windows = "input_ids" in file.tensors
    max_length, stride = subject.shape(*((options["max_length"], options["stride"]) if is_windows else ()))
    if len(ids):
        facts |= _windows_facts(meta["n_tokens"], max_length, stride)
    stretches = stretches_of_file(meta) if len(ids) and options.get("part", "train") == "train" else None
    return Opened(subject.path, facts, len(ids), ids, stretches, refers, max_length, stride)


def _left_out(left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """Return what is said of inputs that were left out, if any were."""
    return {"left_out": {each.name: each.reason for each in left_out}} if left_out else {}


def _continuous_ids(file: PtFile, meta: Mapping[str, Any]) -> Any:
    """Return the ids of a tokens file, or the stream that a windows file holds; empty where there is none."""
    from llmprep.formats.ids import check_ids
    from llmprep.formats.tokens import read_tokens
    from llmprep.formats.windows import check_window_ids, read_windows
    from llmprep.windows.views import stream_of

    if "input_ids" in file.tensors:
        windows, options = read_windows(file), meta["options"]
        check_window_ids(file, meta["n_vocab"])
        if options["stride"] > options["max_length"]:
            return []
        return stream_of(*windows, options["stride"]) if options["dense"] else file.storages["input_ids"]
    if "token_ids" in file.tensors:
        ids = read_tokens(file)
        check_ids(ids, meta["n_vocab"], file.name)
        return ids
    return []


def _weights_facts(file: PtFile) -> dict[str, Any]:
    from llmprep.formats.weights import read_weights, weight_keys

    tables = zip(weight_keys(file), read_weights(file), strict=True)
    return {"kind": "weights", **{key: f"{list(table.shape)} {file.dtypes[key]}" for key, table in tables}}


def _windows_facts(n_tokens: int, max_length: int, stride: int) -> dict[str, int]:
    from llmprep.windows.counts import count_windows

    return {"n_windows": count_windows(n_tokens, max_length, stride), "max_length": max_length, "stride": stride}
