"""Fixtures of the documents' tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for tests that write one file again and again."""
    return tmp_path_factory.mktemp("documents")
