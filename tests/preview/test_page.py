"""Promises of the page as a file: it stands alone, is small, the same each time, and holds no text that could act.

What it does in a browser is in test_page_browser.py. After them those of ``--html`` and ``--svg``.
"""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from support.commands import SAMPLES, Call
from support.pages import page_of
from support.refusals import Refusal, check_refusal, each_row
from support.strategies import adversarial_text

from llmprep.preview.characters import group_tokens
from llmprep.preview.page import BYTES_SHOWN, IDS_HELD, Page, draw_page, fit_ids
from llmprep.preview.plain import size, visible
from llmprep.tokens.merging import Piece


class Reader(HTMLParser):
    """The tokens of a page by their text, all its other text, and every element with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tokens: list[str] = []
        self.text = ""
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element, and whether it is a token."""
        self.elements.append((tag, dict(attrs)))
        self.inside = "token" if "data-i" in dict(attrs) else tag
        self.tokens += [""] * (self.inside == "token")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        """Note that an element is over."""
        self.inside = ""

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if self.inside == "token":
            self.tokens[-1] += data
        elif self.inside not in {"script", "style"}:
            self.text += data


@settings(max_examples=12)
@given(text=adversarial_text.map(lambda text: f"{text}</script><script>alert(1)</script><!-- \u202e\x00\u2028<b>'\""))
def test_no_text_acts(text: str) -> None:
    """Of any text each token is shown made visible, in elements and attributes that are the page's own."""
    page = page_of(text, title=text[:60])
    reader, plain = Reader(draw_page(page)), Reader(draw_page(page_of("a tide\n<|endoftext|>\u4e08 came in")))
    labels = [label for group in group_tokens([page.table[i] for i in page.ids]) for label in group.labels]
    assert [token or "" for token in reader.tokens] == labels
    assert [tag for tag, _ in reader.elements if tag in {"script", "style", "meta"}] == ["meta"] * 4 + ["style"] + [
        "script"
    ] * 2
    assert {tag for tag, _ in reader.elements} <= {tag for tag, _ in plain.elements}
    assert not [name for _, attributes in reader.elements for name in attributes if name.startswith(("on", "src"))]
    assert visible(reader.text.replace("\n", " ")) == reader.text.replace("\n", " ")


def test_a_page_stands_alone() -> None:
    """It has no address in it, lets nothing be fetched, and lets no script run but the one with the hash it states."""
    page = draw_page(page_of("some words"))
    assert page.startswith("<!doctype html><!-- llmprep page -->\n")
    assert not re.search(r"https?:|//[a-z]|@import|url\(|\bsrc=|@font-face|fetch|XMLHttp|eval\(|innerHTML", page)
    policy = re.findall(r'Content-Security-Policy" content="(.*?)"', page)
    assert re.fullmatch(
        r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/]{43}='; base-uri 'none'; "
        r"form-action 'none'", *policy,
    )  # fmt: skip


def test_the_largest_page_has_less_than_a_megabyte() -> None:
    """However many tokens there are, of whatever bytes, each in a word of its own that takes many merges."""
    table = {k: b"\x00\xe4\"'<&" + k.to_bytes(4, "big") * 60 for k in range(10**6, 10**6 + 4000)}
    for length in (10, 16, 128):
        short = {k: token[:length] for k, token in table.items()}
        ids = fit_ids(list(short), short)
        assert sum(len(short[k]) for k in ids) <= BYTES_SHOWN
        steps = tuple((place, 10**6) for place in range(length - 2, -1, -1))
        pieces = [Piece(k, 1, short[token_id], steps) for k, token_id in enumerate(ids)]
        pairs = [(ids[:32], 10**6)] * 64
        more = [10**6] * (IDS_HELD - len(ids))
        page = Page("x" * 255, "gpt2", 10**12, ids, 512, 512, short, 10**6, more, pieces, pairs)
        assert 200_000 < len(draw_page(page).encode()) < 1_000_000


def test_pairs_of_long_tokens_are_few() -> None:
    """Pairs are shown as long as their bytes are few: here one of eight."""
    page = Page("x", "gpt2", 9, [1] * 9, 4, 4, table={1: b"x" * 1000}, pairs=[([1] * 3, 1)] * 8)
    assert "The first 1 pair." in draw_page(page)


def test_without_a_vocabulary_ids_are_shown() -> None:
    """A page whose vocabulary is missing says so, and shows each id in the place of its text."""
    page = draw_page(Page("a.pt", "o200k_base", 3, [5, 6, 7], 2, 1))
    assert Reader(page).tokens == ["5", "6", "7"]
    assert "The vocabulary is not on this machine" in page


def test_of_a_vocabulary_without_merges_none_are_promised() -> None:
    """A page whose vocabulary does not merge in a way that is known says so, and invites nobody to choose a word."""
    words, table = [Piece(0, 1, b"ab", ((0, 5),))], {5: b"ab"}
    pages = [
        draw_page(Page("a.pt", "spm.json", 1, [5], 2, 1, table=table, merges=merges, pieces=words if merges else []))
        for merges in (True, False)
    ]
    assert ["how its word is merged" in page.partition("<script")[0] for page in pages] == [True, False]
    assert [page.count("is not shown for this vocabulary") for page in pages] == [0, 2]


# --- the options ----------------------------------------------------------------------------------

LINES = {
    "tokenize story.txt -o t.pt": ("story.txt", 6259),
    "pairs story.txt --start 50": ("story.txt", 6259),
    "window story.txt --max-length 8 --stride 4 -o w.pt --val-fraction 0.5": ("story.txt (train)", 3130),
    "inspect windows.pt": ("windows.pt", 6259),
    "inspect store": ("store", 6259),
    "tokenize - -o t.pt": ("standard input", 6259),
}


@pytest.mark.parametrize("line", LINES)
def test_each_command_draws_what_it_shows(line: str, call: Call, story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page and a picture are announced when they stand; the same run writes the same bytes."""
    Path("story.txt").write_bytes(story.read_bytes())
    call("window", "story.txt", "--max-length", "8", "--stride", "4", "-o", "windows.pt")
    call("tokenize", "story.txt", "-o", "store/", "-j1")
    made: list[list[bytes]] = []
    for words in (("picture", "page"), ("unchanged", "unchanged")):
        with story.open(encoding="utf-8") as text:
            monkeypatch.setattr("sys.stdin", text)
            ended = call(*line.split(), "--html", "a.html", "--svg", "a.svg")
        assert (ended.code, ended.notes) == (0, [])
        made.append([Path(name).read_bytes() for name in ("a.svg", "a.html")])
        picture, page = made[-1]
        announced = [f"a.svg: {words[0]}, {size(len(picture))}", f"a.html: {words[1]}, {size(len(page))}"]
        assert ended.lines[-2:] == announced
    assert made[0] == made[1]
    title, n_tokens = LINES[line]
    assert f'<h1>{title}</h1>\n<p class="facts">{n_tokens:,} tokens, gpt2</p>' in page.decode()
    check_picture(picture.decode(), WORDS[line.split(maxsplit=1)[0]])


WORDS = {
    "tokenize": "6,259 tokens (gpt2)",
    "pairs": "\u2423man who has been",
    "window": "781 windows of 8, stride 4, from 3,130 tokens",
    "inspect": "The Eleventh Wheel",
}
"""What each command's picture shows, among others."""


def check_picture(picture: str, words: str) -> None:
    """It is well-formed, holds no address but the format's name, and shows these words."""
    assert picture.startswith("<!-- llmprep picture -->\n<svg ")
    assert set(re.findall(r"\w+://[^\"\s]*", picture)) == {"http://www.w3.org/2000/svg"}
    shown = "".join(ET.fromstring(picture).itertext()).replace("\xa0", " ")  # noqa: S314 - our own
    assert words in shown


def test_a_hostile_text_is_a_picture_too(call: Call) -> None:
    """What XML cannot hold, and what rich would take as markup, is shown letter by letter."""
    Path("a.txt").write_text("[bold]x[/bold] :smile: </svg> & \x00 \ufffe\uffff \u202e \x1b[31m", encoding="utf-8")
    assert call("pairs", "a.txt", "--context-size", "20", "--svg", "a.svg", "-q").stdout == b""
    check_picture(Path("a.svg").read_text(encoding="utf-8"), "[bold]x[/bold]")


def test_a_page_goes_to_standard_output(call: Call, story: Path) -> None:
    """``-`` takes a page, and what is said goes to standard error."""
    ended = call("pairs", story, "--html", "-")
    assert ended.stdout.startswith(b"<!doctype html>")
    assert ended.stdout.endswith(b"</html>\n")
    assert ended.notes[0] == "[464] ----> 15987"


TEXT: dict[str, str | bytes] = {
    "a.txt": "one two three four five six seven",
    "b.html": "<html>a page of mine</html>",
    "p.pt": b"PK\x03\x04 old",
}
NOT_OURS = "exists and is not a page of llmprep's; --force replaces it"
ONCE = "is also another output; name another file"
CALLS: dict[str, tuple[int, str]] = {
    "window a.txt --max-length 2 --html b.html": (6, f"b.html: {NOT_OURS}"),
    "pairs a.txt --html p.pt": (6, f"p.pt: {NOT_OURS}"),
    "pairs a.txt --html a.txt --force": (2, "a.txt: is also an input; name another output"),
    "tokenize a.txt -o x --html ./x": (2, f"--html ./x: {ONCE}"),
    "pairs a.txt --html - --svg -": (2, f"--svg -: {ONCE}"),
    "pairs a.txt -o - --html -": (2, f"--html -: {ONCE}"),
    "tokenize a.txt --count --html x.html": (2, "--html: --count and --ids draw nothing; leave one out"),
    "tokenize a.txt --ids --svg x.svg": (2, "--svg: --count and --ids draw nothing; leave one out"),
    "tokenize a.txt -o s/ --html x.html": (2, "--html: a token store is shown when it is built, by ..."),
    "window a.txt --dry-run --html x.html": (2, "--html: --dry-run draws nothing; leave one out"),
    "tokenize a.txt --dry-run --svg x.svg": (2, "--svg: --dry-run draws nothing; leave one out"),
    "pairs a.txt --html x.pt": (2, "x.pt: a page is written, whatever its name; name it x.html, or --force"),
    "pairs a.txt --svg x.png": (2, "x.png: a picture is written, whatever its name; name it x.svg, or --force"),
    "window a.txt -o x.html": (2, "x.html: a .pt file is written, whatever its name; name it x.pt, or --html for ..."),
    "inspect a.txt --force": (2, "--force: is only used with --html or --svg"),
    "pairs a.txt --html none/x.html": (1, "none/x.html: there is no folder none; make it first"),
}


@each_row({line: Refusal(TEXT, line, *CALLS[line]) for line in CALLS})
def test_what_loses_something_or_draws_nothing_is_refused(refusal: Refusal, call: Call) -> None:
    """Before any work: no file but a page or picture is replaced, no input or output is written twice."""
    check_refusal(call, refusal)


def test_only_force_replaces_what_is_no_page(call: Call, story: Path) -> None:
    """--force replaces any file; a page is replaced without."""
    Path("b.html").write_text("mine", encoding="utf-8")
    assert call("pairs", story, "--html", "b.html", "--force").code == 0
    assert call("pairs", SAMPLES / "tides.py", "--html", "b.html").code == 0
    assert "<h1>tides.py</h1>" in Path("b.html").read_text(encoding="utf-8")
