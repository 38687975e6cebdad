"""The vocabulary that a store carries in its folder, so that its ids are text anywhere."""

from __future__ import annotations

from pathlib import Path

from llmprep.errors import FileFormatError, LlmprepError
from llmprep.store.schema import Manifest
from llmprep.store.sealed import open_own
from llmprep.vocabulary.embedded import is_embedded
from llmprep.vocabulary.packing import pack, unpack
from llmprep.vocabulary.references import Reference
from llmprep.vocabulary.stated import CARRIED
from llmprep.vocabulary.tokenizer_files import read_regular
from llmprep.vocabulary.vocabulary import Vocabulary


def carry(folder: Path, vocabulary: Vocabulary) -> None:
    """Put a vocabulary into a store's folder, unless every installation has it; what lies there already stays."""
    place = folder / CARRIED
    if vocabulary.is_embedded:
        place.unlink(missing_ok=True)
        return
    packed = pack(vocabulary)
    if not (place.is_file() and place.read_bytes() == packed):
        with open_own(place) as sink:
            sink.write(packed)


def verify_carried(folder: Path, manifest: Manifest) -> str | None:
    """Return what holds of the vocabulary in a store's folder, in words, None where it carries none and need not.

    Raises `FileFormatError` where it is missing, or not the one that the manifest states.
    """
    place = folder / CARRIED
    refers = Reference(manifest.encoding, manifest.fingerprint)
    if not place.is_file():
        everywhere = refers.is_encoding and is_embedded(manifest.vocab_sha256)
        if everywhere or manifest.fingerprint is None:  # stores of older versions carry none
            return None
        raise FileFormatError(f"{place}: is missing: run the command that made the store again, which puts it back")
    try:
        found = unpack(str(place), read_regular(str(place)))
    except LlmprepError as error:
        raise FileFormatError(str(error)) from error
    if found.fingerprint != refers.fingerprint:
        raise FileFormatError(f"{place}: its fingerprint is {found.fingerprint}, the manifest's {refers.fingerprint}")
    return f"{CARRIED} has the fingerprint that the manifest states"
