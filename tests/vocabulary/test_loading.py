"""Promises of vocabulary: tiktoken's own vocabularies, from the nearest place, verified, without a silent download."""

from __future__ import annotations

import gc
import hashlib
import http.server
import importlib
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path
from types import FrameType
from typing import ClassVar

import pytest
import tiktoken.load
from support import reference
from tiktoken.model import MODEL_TO_ENCODING

from llmprep.errors import UsageError, VocabularyError
from llmprep.vocabulary import downloading, ranks
from llmprep.vocabulary import loading as vocabulary
from llmprep.vocabulary.loading import Vocabulary, load_vocabulary
from llmprep.vocabulary.names import resolve_encoding
from llmprep.vocabulary.ranks import parse_ranks

EMBEDDED = ("gpt2", "r50k_base", "p50k_base", "p50k_edit")
FROM_FILES = ("cl100k_base", "o200k_base", "o200k_harmony")

# The hashes that tiktoken's own definitions pin, in tiktoken_ext/openai_public.py.
PINNED = {
    "gpt2": "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
    "r50k_base": "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
    "p50k_base": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "p50k_edit": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "o200k_harmony": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
CL100K = "cl100k_base"
PLAIN = "cl100k_base.tiktoken"
HOST = "openaipublic.blob.core.windows.net"


class NoNetworkError(OSError):
    """What a test gets that would have gone to the network."""


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cache of this machine is seen, and no network is reached."""

    def refuse(*_: object, **__: object) -> None:
        raise NoNetworkError("no network in tests")

    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR", "LLMPREP_VOCAB_DIR"):
        monkeypatch.delenv(variable, raising=False)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture(scope="module")
def cl100k(vocab_dir: Path) -> bytes:
    """The bytes of cl100k_base's rank file."""
    return (vocab_dir / PLAIN).read_bytes()


def place(folder: Path, name: str, data: bytes) -> Path:
    """Put a file into a folder; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder


def default_cache(tmp_path: Path) -> Path:
    """Where tiktoken caches when no variable says otherwise."""
    return tmp_path / "tmp" / "data-gym-cache"


# --- what travels in the package ------------------------------------------------------------------


def test_the_embedded_file_is_tiktokens() -> None:
    """The rank file in the package has the hash that tiktoken pins for r50k_base."""
    data = ranks.EMBEDDED.read_bytes()

    assert hashlib.sha256(data).hexdigest() == PINNED["r50k_base"]


def test_gpt2_is_the_original_vocabulary() -> None:
    """Each token of the published encoder.json has the same id here, and the end-of-text id is its last."""
    # OpenAI's byte <-> character table: printable Latin-1 stands for itself, the rest follows from U+0100 on.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable} | {chr(256 + k): byte for k, byte in enumerate(others)}
    published: dict[str, int] = json.loads(reference.gpt2_file("encoder.json"))
    eot_id = published.pop("<|endoftext|>")

    gpt2 = load_vocabulary("gpt2")

    assert gpt2.ranks == {bytes(map(byte_of.__getitem__, token)): rank for token, rank in published.items()}
    assert gpt2.special_tokens == {"<|endoftext|>": eot_id}
    assert gpt2.eot_id == eot_id


def test_gpt2_is_what_tiktoken_makes_of_the_original_files() -> None:
    """The loader of tiktoken, given the two published files, makes the same ranks."""
    assert load_vocabulary("gpt2").ranks == reference.gpt2_ranks()


@pytest.mark.parametrize("name", ["p50k_base", "p50k_edit"])
def test_p50k_is_derived_to_the_byte(name: str) -> None:
    """p50k's ranks, derived from GPT-2's, written in tiktoken's format have the hash that tiktoken pins."""
    derived = load_vocabulary(name)

    assert hashlib.sha256(reference.rank_lines(derived.ranks)).hexdigest() == PINNED["p50k_base"]
    assert derived.sha256 == PINNED["p50k_base"]


@pytest.mark.parametrize("name", [*EMBEDDED, *FROM_FILES])
def test_a_vocabulary_is_tiktokens(name: str, vocab_dir: Path) -> None:
    """Name, pattern, ranks, special tokens and size equal those of tiktoken's own encoding."""
    theirs = reference.tiktoken_encoding(name)

    ours = load_vocabulary(name, str(vocab_dir))

    assert ours.name == name
    assert ours.n_vocab == theirs.n_vocab
    assert ours.pattern == theirs._pat_str
    assert ours.ranks == theirs._mergeable_ranks
    assert ours.special_tokens == theirs._special_tokens
    assert ours.eot_id == theirs.eot_token
    assert ours.sha256 == PINNED[name]


@pytest.mark.parametrize("name", [*EMBEDDED, *FROM_FILES])
def test_the_rank_file_is_as_it_was_verified(name: str, vocab_dir: Path) -> None:
    """``rank_file`` holds the very bytes whose hash tiktoken pins."""
    loaded = load_vocabulary(name, str(vocab_dir))

    assert hashlib.sha256(loaded.rank_file).hexdigest() == PINNED[name]
    assert parse_ranks(loaded.rank_file) == loaded.ranks
    assert "rank_file" not in repr(replace(loaded, ranks={}))


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_vocabularies_need_no_other_place(name: str, tmp_path: Path) -> None:
    """Neither a folder, nor a cache, nor the network is looked at, and nothing is announced."""
    said: list[str] = []

    load_vocabulary(name, str(tmp_path / "missing"), said.append)

    assert said == []


@pytest.mark.slow
def test_gpt2_loads_faster_than_by_tiktoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From local files, ours takes less than tiktoken's own loader for gpt2 takes."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    for name in ("vocab.bpe", "encoder.json"):
        (tmp_path / name).write_bytes(reference.gpt2_file(name))
    paths = str(tmp_path / "vocab.bpe"), str(tmp_path / "encoder.json")

    def seconds(load: Callable[[], object]) -> float:
        def once() -> float:
            gc.collect()
            start = time.perf_counter()
            load()
            return time.perf_counter() - start

        return statistics.median(once() for _ in range(5))

    def ratio() -> float:
        ours = seconds(lambda: load_vocabulary("gpt2"))
        return ours / seconds(lambda: tiktoken.load.data_gym_to_mergeable_bpe_ranks(*paths))

    assert any(ratio() < 0.8 for _ in range(3))


def test_a_damaged_package_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank file of the package that is not what it was when packed is named and not used."""
    data = ranks.EMBEDDED.read_bytes()
    place(tmp_path / "vocab", "r50k_base.tiktoken", data.replace(b" 0\n", b" 1\n", 1))
    monkeypatch.setattr(vocabulary, "EMBEDDED", tmp_path / "vocab" / "r50k_base.tiktoken")

    with pytest.raises(VocabularyError, match=r"r50k_base\.tiktoken: damaged .*reinstall llmprep"):
        load_vocabulary("gpt2")


def test_a_missing_package_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the rank file is one clear error."""
    monkeypatch.setattr(vocabulary, "EMBEDDED", tmp_path / "vocab" / "r50k_base.tiktoken")

    with pytest.raises(VocabularyError, match=r"r50k_base\.tiktoken: No such file.*reinstall llmprep"):
        load_vocabulary("gpt2")


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PINNED)
def test_an_encoding_is_itself(name: str) -> None:
    """An encoding's name resolves to that name."""
    assert resolve_encoding(name) == name


@pytest.mark.parametrize("model", MODEL_TO_ENCODING)
def test_a_model_is_its_encoding(model: str) -> None:
    """Every model that tiktoken lists resolves as tiktoken resolves it."""
    assert resolve_encoding(model) == tiktoken.encoding_name_for_model(model)


@pytest.mark.parametrize("model", ["gpt-4o-2024-08-06", "gpt-4-0314", "gpt-3.5-turbo-0301", "ft:gpt-4o:mine", "o1-x"])
def test_a_models_version_is_its_encoding(model: str) -> None:
    """A model's name with a version behind it resolves as tiktoken resolves it."""
    assert resolve_encoding(model) == tiktoken.encoding_name_for_model(model)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gpt-2x", "did you mean"),
        ("gtp2", "gpt2"),
        ("cl100k", "cl100k_base"),
        ("o200k-base", "o200k_base"),
        ("Llama", "known are gpt2, r50k_base"),
        ("", "known are gpt2, r50k_base"),
    ],
)
def test_an_unknown_name_gets_near_ones(name: str, hint: str) -> None:
    """An unknown name is an error that begins with the option and says what could be meant."""
    with pytest.raises(VocabularyError) as raised:
        load_vocabulary(name)

    assert str(raised.value).startswith(f"--encoding {name}: unknown; ")
    assert hint in str(raised.value)


def test_a_model_loads_its_encoding(vocab_dir: Path) -> None:
    """Loading by a model's name gives the vocabulary under the encoding's name."""
    assert load_vocabulary("gpt-4", str(vocab_dir)).name == "cl100k_base"


# --- places ---------------------------------------------------------------------------------------


def test_a_folder_serves_by_plain_name(vocab_dir: Path) -> None:
    """``--vocab-dir`` finds ``cl100k_base.tiktoken``."""
    assert load_vocabulary(CL100K, str(vocab_dir)).sha256 == PINNED[CL100K]


def test_a_folder_serves_by_cache_name(tmp_path: Path, cl100k: bytes) -> None:
    """``--vocab-dir`` also takes a folder that tiktoken's cache was copied to."""
    folder = place(tmp_path / "copied", reference.cache_name(reference.rank_address(CL100K)), cl100k)

    assert load_vocabulary(CL100K, str(folder)).sha256 == PINNED[CL100K]


def test_the_variable_serves_where_no_folder_is_named(
    vocab_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLMPREP_VOCAB_DIR is heeded without the command line; a folder that is named goes before it."""
    monkeypatch.setenv("LLMPREP_VOCAB_DIR", str(vocab_dir))
    damaged = place(tmp_path / "damaged", PLAIN, b"IQ== 0\n")

    assert load_vocabulary(CL100K).sha256 == PINNED[CL100K]
    with pytest.raises(VocabularyError, match="its sha256 is not"):
        load_vocabulary(CL100K, damaged)
    monkeypatch.setenv("LLMPREP_VOCAB_DIR", "")
    with pytest.raises(VocabularyError, match="no network in tests"):
        load_vocabulary(CL100K)
    with pytest.raises(UsageError, match="vocab_dir: is empty"):
        load_vocabulary(CL100K, "")


@pytest.mark.parametrize("variable", ["TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR", "default"])
@pytest.mark.parametrize("name", [PLAIN, reference.cache_name(reference.rank_address(CL100K))])
def test_tiktokens_caches_serve(
    variable: str, name: str, cl100k: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in any of tiktoken's caches is used, under the cache's name or its plain name."""
    if variable == "default":
        place(default_cache(tmp_path), name, cl100k)
    else:
        monkeypatch.setenv(variable, str(place(tmp_path / "cache", name, cl100k)))

    assert load_vocabulary(CL100K).sha256 == PINNED[CL100K]


def test_what_tiktoken_cached_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cl100k: bytes) -> None:
    """A file that tiktoken itself has put into its cache is found there."""
    (tmp_path / "cl100k").write_bytes(cl100k)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tiktoken.load, "read_file", lambda _: cl100k)
    tiktoken.load.read_file_cached(reference.rank_address(CL100K))

    assert load_vocabulary(CL100K).sha256 == PINNED[CL100K]


def test_the_folder_comes_before_the_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cl100k: bytes) -> None:
    """A damaged file in a cache does no harm where the folder has a sound one."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(place(tmp_path / "cache", PLAIN, b"damaged")))

    loaded = load_vocabulary(CL100K, str(place(tmp_path / "folder", PLAIN, cl100k)))

    assert loaded.sha256 == PINNED[CL100K]


def test_a_wrong_file_in_the_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cl100k: bytes) -> None:
    """What the user named is not passed over in silence, even if a cache has the right file."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(place(tmp_path / "cache", PLAIN, cl100k)))
    folder = place(tmp_path / "folder", PLAIN, cl100k[:-1])

    with pytest.raises(VocabularyError, match=rf"folder/{PLAIN}: its sha256 is not {PINNED[CL100K]}"):
        load_vocabulary(CL100K, str(folder))


def test_a_folder_without_the_file_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cl100k: bytes
) -> None:
    """A folder that does not hold the file leaves the caches to be looked at."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(place(tmp_path / "cache", PLAIN, cl100k)))

    assert load_vocabulary(CL100K, str(tmp_path)).sha256 == PINNED[CL100K]


def test_tiktokens_variable_hides_the_other_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cl100k: bytes
) -> None:
    """As in tiktoken, TIKTOKEN_CACHE_DIR is the only cache where it is set."""
    place(default_cache(tmp_path), PLAIN, cl100k)
    monkeypatch.setenv("DATA_GYM_CACHE_DIR", str(place(tmp_path / "gym", PLAIN, cl100k)))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "empty"))

    with pytest.raises(VocabularyError, match="not to be had"):
        load_vocabulary(CL100K)


def test_an_empty_variable_turns_caching_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cl100k: bytes) -> None:
    """As in tiktoken, an empty TIKTOKEN_CACHE_DIR means that no cache is read."""
    place(default_cache(tmp_path), PLAIN, cl100k)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")

    with pytest.raises(VocabularyError, match="not to be had"):
        load_vocabulary(CL100K)


def test_a_truncated_cache_is_not_used(tmp_path: Path, cl100k: bytes) -> None:
    """A cached file with another hash is named among what was tried, and stays where it is."""
    name = reference.cache_name(reference.rank_address(CL100K))
    cached = place(default_cache(tmp_path), name, cl100k[:1000]) / name

    with pytest.raises(VocabularyError, match=rf"{name} \(wrong sha256"):
        load_vocabulary(CL100K)
    assert cached.read_bytes() == cl100k[:1000]


def make_pipe(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


def make_endless(path: Path) -> None:
    """A link to a device that never ends."""
    path.symlink_to("/dev/zero")


def make_linked_pipe(path: Path) -> None:
    """A link to a pipe."""
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def make_huge(path: Path) -> None:
    """A file larger than any vocabulary, which takes no space."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


UNUSABLE: dict[Callable[[Path], None], str] = {
    make_pipe: "no regular file",
    make_linked_pipe: "no regular file",
    make_endless: "no regular file",
    make_huge: "1099511627776 bytes, larger than any vocabulary",
    Path.mkdir: "is a directory",
}


@pytest.mark.parametrize("make", UNUSABLE)
def test_what_is_no_file_in_a_cache_is_passed_over(
    make: Callable[[Path], None], tmp_path: Path, cl100k: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in a shared cache can make llmprep wait, or read for ever: it is not used, and that is said."""
    name = reference.cache_name(reference.rank_address(CL100K))
    default_cache(tmp_path).mkdir()
    make(default_cache(tmp_path) / name)

    with pytest.raises(VocabularyError) as raised:
        load_vocabulary(CL100K)
    assert f"{name} ({UNUSABLE[make]})" in str(raised.value)

    said: list[str] = []
    make(place(tmp_path / "mine", name, cl100k) / PLAIN)
    assert load_vocabulary(CL100K, str(tmp_path / "mine"), said.append).sha256 == PINNED[CL100K]
    assert said == [f"not used: {tmp_path / 'mine' / PLAIN} ({UNUSABLE[make]})"]


def test_without_any_place_the_error_says_where_and_how(tmp_path: Path) -> None:
    """The one line names the folder, the cache, the address, and the two ways to supply the file."""
    with pytest.raises(VocabularyError) as raised:
        load_vocabulary(CL100K, str(tmp_path / "mine"))

    message = str(raised.value)
    assert message.startswith(f"{PLAIN}: not to be had; tried ")
    wanted = (str(tmp_path / "mine"), str(default_cache(tmp_path)), HOST, "no network in tests")
    assert all(part in message for part in (*wanted, "--vocab-dir", "LLMPREP_VOCAB_DIR"))
    assert "\n" not in message


@pytest.mark.parametrize("where", ["folder", "variable"])
def test_an_unreadable_file_is_named(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cl100k: bytes
) -> None:
    """A folder in the file's place is an operating-system error, which is reported with its path and reason."""
    blocked = place(tmp_path / "blocked" / PLAIN, "file", cl100k).parent
    if where == "variable":
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(blocked))

    with pytest.raises(VocabularyError, match=rf"{PLAIN} \(is a directory\)"):
        load_vocabulary(CL100K, str(blocked) if where == "folder" else None)


@pytest.mark.parametrize("make", UNUSABLE)
def test_what_is_no_file_where_the_user_points_is_an_error(
    make: Callable[[Path], None], tmp_path: Path, cl100k: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in the folder of ``--vocab-dir`` is not passed over, even if a cache has the right file."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(place(tmp_path / "cache", PLAIN, cl100k)))
    (tmp_path / "mine").mkdir()
    make(tmp_path / "mine" / PLAIN)

    with pytest.raises(VocabularyError) as raised:
        load_vocabulary(CL100K, str(tmp_path / "mine"))
    assert f"mine/{PLAIN} ({UNUSABLE[make]}); put the file" in str(raised.value)


def test_a_device_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening some devices does something, as rewinding a tape: what a link in a cache leads to is looked at before."""
    name = reference.cache_name(reference.rank_address(CL100K))
    default_cache(tmp_path).mkdir()
    make_endless(default_cache(tmp_path) / name)
    opened: list[object] = []
    real = os.open

    def watch(path: str, *rest: int) -> int:
        opened.append(path)
        return real(path, *rest)

    monkeypatch.setattr(os, "open", watch)
    with pytest.raises(VocabularyError, match="no regular file"):
        load_vocabulary(CL100K)

    assert default_cache(tmp_path) / name not in opened


# --- downloads ------------------------------------------------------------------------------------


class Site(http.server.BaseHTTPRequestHandler):
    """A web site on this machine that serves one body and remembers what it was asked for."""

    body: ClassVar[bytes] = b""
    status: ClassVar[int] = 200
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer with the body."""
        self.asked.append(self.path)
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        with suppress(OSError):  # the reader may have had enough
            self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


REAL_URLOPEN = urllib.request.urlopen


def send_to(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every request go to a port of this machine instead of the address it names."""

    def urlopen(address: str, timeout: float) -> HTTPResponse:
        path = address.split("/", 3)[3]
        answer: HTTPResponse = REAL_URLOPEN(f"http://127.0.0.1:{port}/{path}", timeout=timeout)
        return answer

    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)


@pytest.fixture
def site(cl100k: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Site]]:
    """A site that serves cl100k_base."""

    class Fresh(Site):
        body = cl100k
        asked: ClassVar[list[str]] = []

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fresh) as server:
        send_to(server.server_address[1], monkeypatch)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Fresh
        server.shutdown()
        thread.join()


def test_a_download_gives_the_vocabulary(site: type[Site]) -> None:
    """What no folder and no cache has is downloaded from tiktoken's address and is tiktoken's vocabulary."""
    loaded = load_vocabulary(CL100K)

    assert site.asked == [f"/encodings/{PLAIN}"]
    assert loaded.ranks == reference.tiktoken_encoding(CL100K)._mergeable_ranks


def test_a_download_is_announced_before_it_starts(site: type[Site]) -> None:
    """The note names file and host, and comes before the first request."""
    said: list[tuple[str, int]] = []

    load_vocabulary(CL100K, announce=lambda text: said.append((text, len(site.asked))))

    assert said == [(f"downloading {PLAIN} from {HOST}", 0)]


@pytest.mark.parametrize("variable", ["TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR", None])
def test_a_download_is_kept_where_tiktoken_looks(
    variable: str | None, site: type[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second load does not ask again; the file lies in tiktoken's cache under the cache's name, and alone."""
    folder = default_cache(tmp_path)
    if variable is not None:
        folder = tmp_path / "new" / "cache"
        monkeypatch.setenv(variable, str(folder))

    load_vocabulary(CL100K)
    load_vocabulary(CL100K)

    assert len(site.asked) == 1
    assert [path.name for path in folder.iterdir()] == [reference.cache_name(reference.rank_address(CL100K))]
    assert tiktoken.load.read_file_cached(reference.rank_address(CL100K), PINNED[CL100K]) == site.body


def test_two_users_can_share_what_was_kept(site: type[Site], tmp_path: Path) -> None:
    """What is kept has the permissions of an ordinary new file, so that others may read the cache as tiktoken's."""
    ordinary = tmp_path / "ordinary"
    ordinary.touch()

    load_vocabulary(CL100K)

    (kept,) = default_cache(tmp_path).iterdir()
    assert kept.stat().st_mode == ordinary.stat().st_mode


def test_a_download_is_not_kept_through_a_link(site: type[Site], tmp_path: Path) -> None:
    """The default cache lies in a folder of everybody: a link in its place may lead anywhere, and is not followed."""
    victim = tmp_path / "victim"
    victim.mkdir()
    default_cache(tmp_path).symlink_to(victim)
    said: list[str] = []

    load_vocabulary(CL100K, announce=said.append)

    assert list(victim.iterdir()) == []
    assert said[-1].endswith("not kept there (is a link); the next run downloads again")


def test_a_download_replaces_a_link_in_the_cache(site: type[Site], tmp_path: Path) -> None:
    """What a link under the cached file's name leads to stays as it is."""
    (tmp_path / "victim").write_bytes(b"theirs")
    cached = default_cache(tmp_path) / reference.cache_name(reference.rank_address(CL100K))
    cached.parent.mkdir()
    cached.symlink_to(tmp_path / "victim")

    load_vocabulary(CL100K)

    assert (tmp_path / "victim").read_bytes() == b"theirs"
    assert not cached.is_symlink()
    assert cached.read_bytes() == site.body


def test_nothing_is_kept_where_caching_is_off(
    site: type[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an empty TIKTOKEN_CACHE_DIR each load asks again, and no file is written."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")

    load_vocabulary(CL100K)
    load_vocabulary(CL100K)

    assert len(site.asked) == 2
    assert not default_cache(tmp_path).exists()


def test_a_cache_that_cannot_be_written_is_only_said(
    site: type[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be kept the vocabulary is used all the same, with a note."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    said: list[str] = []

    loaded = load_vocabulary(CL100K, announce=said.append)

    assert loaded.sha256 == PINNED[CL100K]
    assert "not kept there" in said[-1]


def test_a_rename_that_fails_leaves_no_rubbish(
    site: type[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the last step of keeping fails, the temporary file is taken away again."""

    def fail(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "replace", fail)
    monkeypatch.setattr(Path, "replace", fail)
    said: list[str] = []

    load_vocabulary(CL100K, announce=said.append)

    assert "not kept there (Operation not permitted)" in said[-1]
    assert list(default_cache(tmp_path).iterdir()) == []


def test_a_damaged_cache_is_replaced_by_a_download(site: type[Site], tmp_path: Path, cl100k: bytes) -> None:
    """A file with another hash in the cache is downloaded anew, and the cache is then sound."""
    name = reference.cache_name(reference.rank_address(CL100K))
    folder = place(default_cache(tmp_path), name, cl100k[:1000])

    load_vocabulary(CL100K)

    assert (folder / name).read_bytes() == cl100k


def test_a_wrong_download_is_refused_and_not_kept(site: type[Site], tmp_path: Path) -> None:
    """A download with another hash (a login page of a hotel, say) is an error, and nothing is kept."""
    site.body = b"<html>Welcome to our network</html>"

    with pytest.raises(VocabularyError, match=f"the download's sha256 is not {PINNED[CL100K]}; nothing was kept"):
        load_vocabulary(CL100K)
    assert not default_cache(tmp_path).exists()


def test_an_answer_of_another_status_is_an_error(site: type[Site]) -> None:
    """A 404 is one error that names the host and the status."""
    site.status = 404

    with pytest.raises(VocabularyError, match=rf"not to be had; .*{HOST} \(Not Found\)"):
        load_vocabulary(CL100K)


def test_an_endless_answer_is_cut_off(site: type[Site], monkeypatch: pytest.MonkeyPatch) -> None:
    """A body larger than any vocabulary is not read to its end."""
    monkeypatch.setattr(vocabulary, "MAX_FILE_BYTES", 100_000)

    with pytest.raises(VocabularyError, match="larger than any vocabulary"):
        load_vocabulary(CL100K)


def serve_raw(answer: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let requests go to a socket that answers as told; call the result when done."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                answer(connection)
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    send_to(listener.getsockname()[1], monkeypatch)

    def done() -> None:
        thread.join()
        listener.close()

    return done


def test_a_network_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that accepts and says nothing is an error once the time to answer is over."""
    released = threading.Event()

    def keep_silent(_: socket.socket) -> None:
        released.wait(30)

    done = serve_raw(keep_silent, monkeypatch)
    monkeypatch.setattr(vocabulary, "CONNECT_SECONDS", 0.2)
    start = time.monotonic()

    with pytest.raises(VocabularyError, match=rf"{HOST} \(timed out\)"):
        load_vocabulary(CL100K)

    took = time.monotonic() - start
    released.set()
    done()
    assert took < 5


def test_a_network_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that sends a byte now and then is an error once the time for a download is over."""

    def drip(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x")
            time.sleep(0.02)

    done = serve_raw(drip, monkeypatch)
    monkeypatch.setattr(vocabulary, "DOWNLOAD_SECONDS", 0.3)
    start = time.monotonic()

    with pytest.raises(VocabularyError, match=r"not complete after \d+ s"):
        load_vocabulary(CL100K)

    took = time.monotonic() - start
    done()
    assert took < 5


@pytest.mark.parametrize("answer", [b"", b"no web server\r\n\r\n"])
def test_an_answer_that_is_no_http_is_an_error(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that hangs up, or speaks something else, is one error."""

    def speak(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(answer)

    done = serve_raw(speak, monkeypatch)

    with pytest.raises(VocabularyError, match=f"not to be had; .*{HOST}"):
        load_vocabulary(CL100K)
    done()


def test_a_download_that_breaks_off_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cl100k: bytes) -> None:
    """A connection that ends in mid-file gives no vocabulary, and nothing is kept."""

    def half(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(cl100k) + cl100k[: 1 << 16])

    done = serve_raw(half, monkeypatch)

    with pytest.raises(VocabularyError):
        load_vocabulary(CL100K)
    done()
    assert not default_cache(tmp_path).exists()


def test_a_silent_network_costs_less_than_half_a_minute() -> None:
    """The time to wait for an answer, and for the whole download, are each within the 30 s that are promised."""
    assert downloading.CONNECT_SECONDS < 30
    assert downloading.DOWNLOAD_SECONDS < 30


# --- the format -----------------------------------------------------------------------------------


def test_ranks_are_parsed_as_tiktoken_parses_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank file gives the dict that tiktoken's loader gives."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    path = tmp_path / "r50k_base.tiktoken"
    path.write_bytes(reference.rank_lines(reference.gpt2_ranks()))

    assert parse_ranks(path.read_bytes()) == tiktoken.load.load_tiktoken_bpe(str(path))


def test_loading_two_vocabularies_mixes_nothing(vocab_dir: Path) -> None:
    """Loads in a row, of different files, each give their own vocabulary."""
    names = ("gpt2", "cl100k_base", "p50k_edit", "gpt2")

    loaded: list[Vocabulary] = [load_vocabulary(name, str(vocab_dir)) for name in names]

    assert [v.sha256 for v in loaded] == [PINNED[name] for name in names]
    assert [v.eot_id for v in loaded] == [50256, 100257, 50256, 50256]


def test_threads_load_their_own() -> None:
    """Vocabularies that many threads load at the same time are each whole, with their own hash and path."""
    names = EMBEDDED * 8
    begin = threading.Barrier(len(names))

    def load(name: str) -> tuple[str, int, bytes]:
        begin.wait()
        loaded = load_vocabulary(name)
        return loaded.sha256, loaded.n_vocab, loaded.rank_file

    expected = {name: (v.sha256, v.n_vocab, v.rank_file) for name in EMBEDDED for v in [load_vocabulary(name)]}
    kept = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change places as often as they can
    try:
        for _ in range(2):
            with ThreadPoolExecutor(len(names)) as threads:
                assert list(threads.map(load, names)) == [expected[name] for name in names]
    finally:
        sys.setswitchinterval(kept)


def test_tiktokens_own_loaders_stay_as_they_are(vocab_dir: Path) -> None:
    """Our loader stands in a private copy of tiktoken's definitions: tiktoken's own are untouched."""
    openai_public = importlib.import_module("tiktoken_ext.openai_public")

    load_vocabulary(CL100K, str(vocab_dir))

    assert openai_public.load_tiktoken_bpe is tiktoken.load.load_tiktoken_bpe
    assert openai_public.data_gym_to_mergeable_bpe_ranks is tiktoken.load.data_gym_to_mergeable_bpe_ranks


def test_a_load_that_is_overtaken_is_its_own() -> None:
    """A load that stands still just before it asks for its file gets that file, whatever is loaded meanwhile."""
    inside, overtaken = threading.Event(), threading.Event()

    def stand_still(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "p50k_base":  # tiktoken's definition
            inside.set()
            overtaken.wait(30)

    def load_slowly() -> Vocabulary:
        before = sys.gettrace()
        sys.settrace(stand_still)
        try:
            return load_vocabulary("p50k_base")
        finally:
            sys.settrace(before)

    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(load_slowly)
        assert inside.wait(30)
        fast = load_vocabulary("r50k_base")
        overtaken.set()
        loaded = slow.result()

    assert (fast.name, fast.sha256, fast.n_vocab) == ("r50k_base", PINNED["r50k_base"], 50257)
    assert (loaded.name, loaded.sha256, loaded.n_vocab) == ("p50k_base", PINNED["p50k_base"], 50281)
