"""README shows what the program does today."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES, clean_environment
from picture import PICTURE, draw

README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLES = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def _session(block: str) -> list[tuple[str, str]]:
    """Return each command of a console block with the output that README shows for it."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


@pytest.fixture(scope="module")
def user_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a user stands, with the sample texts and an llmprep command."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "sample_texts").symlink_to(SAMPLES)
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    command = bin_folder / "llmprep"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llmprep "$@"\n')
    command.chmod(0o755)
    return folder


def test_console_blocks_show_real_output(user_folder: Path) -> None:
    """Every command in a console block prints, in order, exactly what README shows."""
    path = f"{user_folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for block in CONSOLES:
        for command, shown in _session(block):
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=user_folder,
                env=clean_environment({"PATH": path}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.stdout == shown, command


def test_readme_shows_some_sessions() -> None:
    """There are console blocks to check, so the test above cannot pass for want of them."""
    assert sum(len(_session(block)) for block in CONSOLES) >= 5


def test_every_file_named_in_readme_exists() -> None:
    """Files, rooms and tests that README names are there."""
    named = set(re.findall(r"`((?:tests|llmprep|sample_texts)/[\w./-]*)`", README))
    rooms = set(re.findall(r"^\| `([\w/]+(?:\.py)?)`", README, re.MULTILINE))

    assert named, "README names files"
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    assert [room for room in sorted(rooms) if not (ROOT / "llmprep" / room).exists()] == []


def test_every_room_is_in_readme() -> None:
    """The rooms table lists every module and package of llmprep."""
    modules = {path.name for path in (ROOT / "llmprep").glob("[a-z]*.py")}
    packages = {path.parent.name + "/" for path in (ROOT / "llmprep").glob("*/__init__.py")}

    assert [room for room in sorted(modules | packages) if f"`{room}`" not in README] == []


def test_picture_is_current() -> None:
    """The picture in README is what the preview draws now."""
    assert PICTURE.read_text(encoding="utf-8") == draw()
