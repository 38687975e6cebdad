"""Pages of a text, as the commands make them, and a browser that opens them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from llmprep.cli.picture import with_text
from llmprep.preview.page import Page
from llmprep.vocabulary.loading import load_vocabulary
from support.reference import encode

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def page_of(text: str, max_length: int = 4, stride: int = 4, title: str = "a.txt", **more: Any) -> Page:
    """The page of a text."""
    ids = encode(text)
    return with_text(Page(title, "gpt2", len(ids), ids, max_length, stride, **more), load_vocabulary("gpt2"))


@contextmanager
def open_browser() -> Iterator["Browser"]:
    """Start the chromium of this machine; where it or playwright is missing, the test is skipped."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no chromium: the page is not opened in a browser")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: the page is not opened in a browser")
    with playwright.sync_playwright() as driver:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"] if root else [])
        yield browser
        browser.close()
