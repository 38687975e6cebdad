"""Promises of a page in a browser: its numbers are Python's, its order torch's, and no text of a file acts.

UPDATE_GOLDEN=1 draws the pictures in tests/golden/ anew: look at each.
"""

import os
import platform
import re
import struct
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from support.commands import ROOT, SAMPLES
from support.golden import GOLDEN
from support.pages import open_browser, page_of
from support.reference import encode

from llmprep import create_dataloader
from llmprep.preview.characters import group_tokens
from llmprep.preview.explain import summary
from llmprep.preview.page import Page, draw_page
from llmprep.preview.plain import visible
from llmprep.pytorch.sampler import WindowSampler
from llmprep.windows.contexts import longest_contexts, sees_across
from llmprep.windows.coverage import cover, target_counts

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow

TEXTS = "The tide came in.<|endoftext|>\u4e2d\u6587 and more.\n\nIt went out<|endoftext|>again at noon."
HOSTILE = (
    "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> --> &lt; \u202eevil\u202c NUL\0 \x1b[31m"
    " [bold] [/b] :smile: \u2028\u2029 \u200b\ufeff \ufdd0 ${7*7} \u4e08 \U0001f600"
)
LOG: list[str] = []


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A browser; what it saw is written to build/page_browser.txt."""
    with open_browser() as started:
        LOG[:] = [f"chromium {started.version}, playwright {version('playwright')}, Python {platform.python_version()}"]
        yield started
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "page_browser.txt").write_text("\n".join(LOG) + "\n", encoding="utf-8")


Open = Callable[..., "Tab"]


@pytest.fixture
def open_page(browser: "Browser", tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Open a page offline, in a context of its own; any dialog, error or request but its own fails the test."""
    seen: list[str] = []
    contexts: list[Any] = []

    def opened(page: Page, width: int = 900, **options: Any) -> "Tab":
        path = tmp_path / f"{len(contexts)}.html"
        path.write_text(draw_page(page), encoding="utf-8")
        contexts.append(browser.new_context(viewport={"width": width, "height": 1000}, offline=True, **options))
        tab: Tab = contexts[-1].new_page()
        tab.on("request", lambda request: seen.append(request.url))
        tab.on("dialog", lambda dialog: seen.append(f"dialog {dialog.message}"))
        tab.on("pageerror", lambda error: seen.append(f"error {error}"))
        tab.on("console", lambda message: seen.append(f"console {message.text}"))
        tab.goto(path.as_uri())
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert seen == [(tmp_path / f"{number}.html").as_uri() for number in range(len(contexts))]
    LOG.append(f"{request.node.name}: {len(contexts)} page(s), {len(seen)} request(s), those of the pages themselves")


EACH_POSITION = """() => {
  const most = Number(document.getElementById("length").max), n = most + 1;
  const { setSize, redraw, cover, targetCount, longestContexts, summary } = llmprep, found = [];
  const read = (query) => [...document.querySelectorAll(query)].map((element) => element.textContent);
  for (let length = 1; length <= most; length += 1) for (let stride = 1; stride <= most; stride += 1) {
    setSize("length", length); setSize("stride", stride); redraw();
    const account = cover(n, length, stride);
    found.push([length, stride, account, Array.from({ length: n }, (_, token) => targetCount(token, n, length, stride)),
      longestContexts(n, length, stride), summary(account, length, stride), read("#account dd"),
      read("#across, #lengths"), read("#map text"),
      document.querySelector("#histogram .count").getAttribute("d")]);
  }
  return found;
}"""


def seen_across(ids: list[int], max_length: int, stride: int) -> str:
    """What the page says of the windows that see across a document boundary."""
    told = [sees_across(ids[start : start + max_length], 50256) for start in range(0, len(ids) - max_length, stride)]
    windows, positions = sum(map(any, told)), sum(map(sum, told))
    see = "sees" if windows == 1 else "see"
    return f" {windows} {see} across one, at {positions} of {len(told) * max_length} positions."


def test_every_position_of_the_sliders_is_pythons_arithmetic(open_page: Open) -> None:
    """At each max_length and stride the account, the targets, the contexts and the boundaries are Python's."""
    ids = encode(TEXTS)
    tab = open_page(page_of(TEXTS))
    found = tab.evaluate(EACH_POSITION)
    most = len(ids) - 1
    assert [position[:2] for position in found] == [[x, y] for x in range(1, most + 1) for y in range(1, most + 1)]
    for max_length, stride, account, targets, longest, said, shown, (across, lengths), drawn, bars in found:
        shape, coverage = (max_length, stride), cover(len(ids), max_length, stride)
        assert account == asdict(coverage), shape
        assert targets == target_counts(len(ids), *shape).tolist(), shape
        assert longest == longest_contexts(len(ids), *shape).tolist(), shape
        assert said == summary(coverage, *shape)
        c = coverage
        assert shown == [f"{n:,}" for n in (c.n_windows, c.n_input, c.n_target, c.overlap, c.n_gap, c.n_tail)]
        assert seen_across(ids, *shape) in across
        mean = sum(k * n for k, n in enumerate(longest, 1)) / c.n_target
        assert abs(float(re.findall(r"is ([\d.]+) tokens on average", lengths)[0]) - mean) <= 0.0501
        span = (min(6, c.n_windows) - 1) * stride + max_length + 1
        assert drawn[-span:] == [str(n) for n in targets[:span]]
        heights = [130 * n / c.n_windows for n in longest]
        assert [float(high) for high in re.findall(r"v-([\d.]+)", bars)] == pytest.approx(heights, abs=0.01)
    sizes = (1, 4, 256, 1024, 2**31 - 1)
    large = [(n, x, y) for n in (0, 1, 2, 6259, 10**12 + 7, 2**52) for x in sizes for y in (3, *sizes)]
    both = "([n, x, y]) => { const c = llmprep.cover(n, x, y); return [c, llmprep.summary(c, x, y)]; }"
    for (n, x, y), (account, said) in zip(large, tab.evaluate(f"all => all.map({both})", large), strict=True):
        assert (account, said) == (asdict(cover(n, x, y)), summary(cover(n, x, y), x, y)), (n, x, y)
    LOG.append(f"{len(found)} positions of the sliders compared, for {len(ids)} tokens, and {len(large)} larger shapes")


def test_keys_move_sliders_and_tokens(open_page: Open) -> None:
    """Arrow keys move a slider, and what is said follows; they move among tokens, and Enter shows a word's merges."""
    n = len(encode(TEXTS))
    tab = open_page(page_of(TEXTS))
    tab.focus("#length")
    for length in (5, 6, 7):
        tab.keyboard.press("ArrowRight")
        tab.wait_for_function("text => document.getElementById('said').textContent === text",
                              arg=summary(cover(n, length, 4), length, 4))  # fmt: skip
        assert tab.input_value("#length-number") == str(length)
    tab.fill("#stride-number", "9")
    assert tab.input_value("#stride") == "9"
    assert tab.inner_text("#account dd >> nth=0") == str(cover(n, 7, 9).n_windows)

    tab.focus("#ids")
    tab.keyboard.press("Tab")
    for key in ("End", "Home", "ArrowRight", "ArrowRight", "ArrowLeft"):
        tab.keyboard.press(key)
    assert tab.evaluate("document.activeElement.textContent") == " tide"
    assert tab.inner_text(".tip") == f"id {encode(' tide')[0]}, bytes 20 74 69 64 65"
    tab.keyboard.press("Enter")
    assert tab.get_attribute(":focus", "aria-selected") == "true"
    assert tab.inner_text("#steps li:last-child b") == " tide"
    unnamed = "e => !e.ariaLabel && !e.labels?.length && !e.textContent"
    query = "document.querySelectorAll('input, button, [role=img], [role=region], [role=group]')"
    assert tab.evaluate(f"[...{query}].filter({unnamed}).map(e => e.id)") == []


def test_batches_stand_in_torchs_order(open_page: Open) -> None:
    """Shuffled windows stand as a DataLoader gives them after torch.manual_seed, for seeds and sizes of all kinds."""
    text = (SAMPLES / "story.txt").read_text(encoding="utf-8")
    tab, ids = open_page(page_of(text, 4, 4)), encode(text)
    sizes = [1, 2, 625, 1564, 5000]
    for count, seed in [*((count, 123) for count in sizes), (40, 0), (40, 2**32 - 1)]:
        assert tab.evaluate("([n, seed]) => [...llmprep.shuffled(n, seed)]", [count, seed]) == torch_order(count, seed)
    for count, seed in ((1, 1), (2, 5), (1000, 123), (4097, 2**32 - 1)):
        each = "([n, seed]) => Array.from({ length: Math.min(n, 20) }, (_, k) => llmprep.storeOrder(n, seed)(k))"
        assert tab.evaluate(each, [count, seed]) == store_order(count, seed)[:20]
        first = (
            "([n, seed]) => { const at = llmprep.storeOrder(n, seed); return [0, 1, 2, 3, 4].map((k) => at(k % n)); }"
        )
        assert tab.evaluate(first, [count, seed]) == [store_order(count, seed)[k % count] for k in range(5)]
    tab.check("#shuffle")
    tab.check("#drop")
    for seed, size in ((7, 6), (4294967295, 5)):
        tab.fill("#seed", str(seed))
        tab.fill("#size", str(size))
        order = torch_order(1564, seed)
        assert f"{1564 // size:,} batches of {size} an epoch" in tab.inner_text("#batches-said")
        rows = [[int(n.replace(",", "")) for n in row.split()[2:]] for row in tab.locator("#grid tr").all_inner_texts()]
        assert rows == [order[k : k + size] for k in range(0, 10 * size, size)]
        for shift, tensor in enumerate(tab.locator("#batch pre").all_inner_texts()):
            wanted = [ids[4 * k + shift : 4 * k + shift + 4] for k in order[:size]]
            assert eval(tensor, {"tensor": list}) == wanted  # noqa: S307 - as the course prints it
    LOG.append(f"{len(sizes) + 4} orders compared with torch {torch.__version__}")


def store_order(count: int, seed: int) -> list[int]:
    """The windows of an epoch in the order of the loader that llmprep makes of a token store of so many."""
    torch.manual_seed(seed)
    return list(WindowSampler(range(count), seed=int(torch.empty((), dtype=torch.int64).random_())))


def torch_order(count: int, seed: int) -> list[int]:
    """The windows of an epoch, by number, in the order of the loader that llmprep makes."""
    loader = create_dataloader(np.arange(count + 1), batch_size=1, max_length=1, stride=1, drop_last=False)
    torch.manual_seed(seed)
    return [int(inputs) for inputs, _ in loader]


WORDS = """() => [...document.querySelectorAll("#strip .w")].map((word) => {
  word.querySelector(".t").click();
  const rows = [...document.querySelectorAll("#steps li")];
  return rows.map((row) => [...row.querySelectorAll("b")].map((part) => part.textContent));
})"""


def test_hostile_text_is_inert(open_page: Open) -> None:
    """Whatever a text and its name hold, tokens, merges and title show it made visible, and nothing runs."""
    page = page_of(HOSTILE, title='"><script>alert(3)</script>\u202e.txt')
    tab = open_page(page)
    groups = list(group_tokens([page.table[i] for i in page.ids]))
    labels = [label for group in groups for label in group.labels]
    assert tab.evaluate("[...document.querySelectorAll('#strip .t')].map(t => t.textContent)") == labels
    shared = [group.text for group in groups if len(group.labels) > 1]
    assert tab.evaluate("[...document.querySelectorAll('#strip .g i')].map(t => t.textContent)") == shared
    assert tab.inner_text("h1") == visible(page.title)
    assert tab.evaluate("document.querySelectorAll('script').length") == 2
    for piece, rows in zip(page.pieces, tab.evaluate(WORDS), strict=True):
        parts = [bytes([byte]) for byte in piece.data]
        for row, step in zip(rows, [*piece.steps, (0, 0)], strict=True):
            assert row == [next(group_tokens([part])).text for part in parts]
            parts[step[0] : step[0] + 2] = [b"".join(parts[step[0] : step[0] + 2])]
    harmful = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) in {"Cc", "Cf", "Zl", "Zp"}]
    others = [*"\u200c\u200d a\u00e9\u4e2d\U0001f600\ufffd\ufffe", *TEXTS]
    coded = [list(char.encode()) for char in [*harmful, *others]]
    assert tab.evaluate("all => all.map(llmprep.labelOf)", coded) == list(map(visible, [*harmful, *others]))


def test_the_policy_lets_no_other_script_run(browser: "Browser", tmp_path: Path) -> None:
    """A script that got into a page all the same, its element or an attribute, would not run; llmprep's does."""
    script = "document.title = 'taken'"
    taken = f'<script>{script}</script><p onclick="{script}" id="bait">text</p></body>'
    path = tmp_path / "taken.html"
    path.write_text(draw_page(page_of(TEXTS)).replace("</body>", taken), encoding="utf-8")
    with browser.new_context(offline=True) as context:
        tab = context.new_page()
        tab.goto(path.as_uri())
        tab.click("#bait")
        assert tab.title() == "a.txt: tokens and windows"
        assert tab.evaluate("document.documentElement.className") == "scripted"


def test_a_word_of_a_megabyte_is_a_page_as_any(open_page: Open) -> None:
    """Its first tokens are shown, its merges are not, which is said, and the sliders work."""
    tab = open_page(page_of("a" * 1_000_000))
    assert tab.locator("#strip .t").count() == 2000
    tab.locator("#strip .t >> nth=5").click()
    assert "no merges are known" in tab.inner_text("#steps")
    tab.fill("#length-number", "64")
    assert tab.inner_text("#account dd >> nth=0") == f"{cover(250_000, 64, 4).n_windows:,}"


@pytest.mark.parametrize("script", [True, False])
def test_a_phone_and_a_reader_without_scripts_see_all_that_is_still(script: bool, open_page: Open) -> None:
    """At 400 pixels nothing is wider than screen or paper; without JavaScript there is all that is still."""
    text = (SAMPLES / "scripts.txt").read_text(encoding="utf-8")
    tab = open_page(page_of(text, 4, 8, pairs=[(encode(text)[:9], 13)]), 400, java_script_enabled=script)
    c = cover(len(encode(text)), 4, 8)
    tab.emulate_media(media="print")
    printed = tab.evaluate("document.documentElement.scrollWidth")
    tab.emulate_media(media="screen")
    assert (printed, tab.evaluate("document.documentElement.scrollWidth")) == (400, 400)
    assert tab.inner_text("#account dd >> nth=0") == f"{c.n_windows:,}"
    assert tab.inner_text("#said") == summary(c, 4, 8)
    assert tab.locator("#length").is_visible() == script
    assert tab.locator("#strip .t").count() == 2000
    for mark in ("#shown table", "#grid table", "#steps li", "#pairs table"):
        assert tab.locator(mark).first.is_visible(), mark


@pytest.mark.parametrize(("scheme", "name"), [("light", "story.txt"), ("dark", "documents.txt")])
def test_pictures_have_all_marks(scheme: str, name: str, open_page: Open) -> None:
    """At each width, light and dark, the page is drawn, not blank, in its own colours, and no wider than its screen."""
    text = (SAMPLES / name).read_text(encoding="utf-8")
    tab = open_page(page_of(text, 8, 4, title=name), color_scheme=scheme)
    if scheme == "dark":
        tab.click("#across button")
    for width, height in ((400, 1000), (900, 1000), (1600, 900)):
        tab.set_viewport_size({"width": width, "height": height})
        if scheme == "dark":
            tab.evaluate("document.getElementById('windows').scrollIntoView()")
        tab.wait_for_timeout(300)
        drawn = tab.screenshot()
        assert struct.unpack(">II", drawn[16:24]) == (width, height)
        assert len(drawn) > 20_000
        light = tab.evaluate("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]) > 128")
        assert light == (scheme == "light")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert tab.locator("#map rect").count() >= 12
        assert tab.locator("#histogram path").count() == 3
        golden = GOLDEN / f"page_{width}_{scheme}.png"
        if os.environ.get("UPDATE_GOLDEN") == "1":
            golden.write_bytes(drawn)
        assert golden.read_bytes()[:4] == b"\x89PNG"
