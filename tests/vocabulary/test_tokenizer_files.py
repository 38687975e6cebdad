"""Promises of a vocabulary's file: found by its path, read with care, known by its content."""

import os
import pickle
from pathlib import Path

import pytest

from llmprep.choices import TokenizerFile
from llmprep.errors import FileFormatError, LlmprepError, VocabularyError
from llmprep.vocabulary import tokenizer_files
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.opening import open_with_fingerprint
from llmprep.vocabulary.tokenizer_files import read_beside, read_file, recognise


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{"version": "1.0", "added_tokens": [], "model": {"type": "BPE"}}', "tokenizer.json"),
        (b'\xef\xbb\xbf \n{"model" :\n {}}', "tokenizer.json"),
        (b"IQ== 0\nIg== 1\n", "rank file"),
        (b"IQ== 0\r\n", "rank file"),
        (pickle.dumps({}, 2), "pickle"),
        (pickle.dumps({}, 5), "pickle"),
        (b"minbpe v1\n\n0\n", "minbpe"),
        (b'{"config": {"pattern": "a", "default_vocab_size": 300}, "vocab": []}', "tekken"),
        (b'{"format": "llmprep-vocabulary/1", "model": {}}', "llmprep"),
    ],
)
def test_a_kind_is_known_by_its_content(data: bytes, kind: str) -> None:
    """Each kind is recognised, whatever the file is called."""
    assert recognise("a", data) == kind


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4\n", "a git-lfs pointer, .* git lfs pull"),
        (b"<!DOCTYPE html>\n<html>", "a web page; download the file itself"),
        (b"GGUF\x03\0\0\0", "a GGUF model"),
        (b"\x1f\x8b\x08", "compressed; decompress it first"),
        (b"PK\x03\x04", "an archive or a .pt file"),
        (b'\x40\0\0\0\0\0\0\0{"a": {}}', "a safetensors file of weights"),
        (b"\n\x0e\n\x05<unk>\x15\0\0\0\0", "a SentencePiece model; name the tokenizer.json beside it"),
        (b"#version: 0.2\n\xc4\xa0 t\n", "only the merges of a vocabulary"),
        (b"cposix\nsystem\n(S'ls'\ntR.", "a pickle of another protocol than 2 to 5"),
        (b"[PAD]\n[UNK]\n", "only a list of words"),
        (b'{"!": 0, "a": 1}', "only the entries of a vocabulary; name the tokenizer.json beside it"),
        (b'{"eos_token": "a", "tokenizer_class": "T"}', "a tokenizer_config.json; name the tokenizer.json beside it"),
        (b'{"eos_token": "a"}', "a list of special tokens"),
        (b'{"model_type": "llama"}', "the configuration of a model"),
        (b'{"x": []}', "no vocabulary's JSON"),
        (b"I HAD always thought\n", "no vocabulary that llmprep knows"),
    ],
)
def test_what_is_no_vocabulary_is_named(data: bytes, what: str) -> None:
    """Of what else lies in such folders, one line says what it is, and what to take instead."""
    with pytest.raises(FileFormatError, match=f"^a: is {what}"):
        recognise("a", data)


def test_a_file_is_found_in_its_folder(tmp_path: Path) -> None:
    """A folder stands for its tokenizer.json, a store's vocabulary, or the one file that it may be."""
    (tmp_path / "tokenizer_config.json").write_bytes(b"{}")
    for name in ("qwen.tiktoken", "vocabulary.json", "tokenizer.json"):
        (tmp_path / name).write_bytes(name.encode())
        assert read_file(tmp_path) == (str(tmp_path / name), name.encode())
        assert read_file(tmp_path / name) == (str(tmp_path / name), name.encode())
    (tmp_path / "loop").symlink_to("loop")
    assert read_file(tmp_path) == (str(tmp_path / "tokenizer.json"), b"tokenizer.json")
    assert read_beside(str(tmp_path / "tokenizer.json"), "tokenizer_config.json") == b"{}"
    assert read_beside(str(tmp_path / "tokenizer.json"), "none.json") is None


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing, ambiguous, endless or huge is one line that says what to do; nothing is downloaded."""
    assert tokenizer_files.MAX_BYTES >= 256 << 20
    monkeypatch.setattr(tokenizer_files, "MAX_BYTES", 9)

    def error(path: str) -> str:
        with pytest.raises(LlmprepError) as raised:
            read_file(path)
        assert isinstance(raised.value, VocabularyError) or "bytes" in str(raised.value)
        return str(raised.value)

    assert "no such file or folder; if that is a model on a hub, nothing is downloaded" in error("Qwen/Qwen3-8B")
    assert "hf download Qwen/Qwen3-8B tokenizer.json" in error("Qwen/Qwen3-8B")
    Path("gpt3").touch()
    assert "say --encoding gpt2" in error("gpt2")
    assert "has no tokenizer.json in it" in error(".")
    for name in ("a.tiktoken", "b.model"):
        Path(name).write_bytes(b"0123456789")
    assert ".: has several files of vocabularies: a.tiktoken, b.model; name one of them" in error(".")
    assert "did you mean a.tiktoken?" in error("a.tiktokn")
    assert "a.tiktoken: 10 bytes, more than the 9 that a vocabulary may have" in error("a.tiktoken")
    assert "a.tiktoken/x: Not a directory" in error("a.tiktoken/x")
    assert "null" in error("a\0b")
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe")
        assert "pipe: no regular file; copy it into one" in error("pipe")


def test_the_vocabularies_opened_last_are_held(tmp_path: Path) -> None:
    """One that is asked for again is the same object, and puts no other out."""
    paths = [str(tmp_path / f"{name}.model") for name in "abcd"]
    for first, path in enumerate(paths):
        Path(path).write_text(f"minbpe v1\n\n0\n{97 + first} 97\n")
    fingerprints = [load_vocabulary(TokenizerFile(path)).fingerprint for path in paths]
    held = [*map(open_with_fingerprint, paths, fingerprints)]
    for _ in range(3):
        assert open_with_fingerprint(paths[3], fingerprints[3]) is held[3]
    assert open_with_fingerprint(paths[0], fingerprints[0]) is held[0]
