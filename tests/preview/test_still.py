"""Promises of the fragments of HTML: of any bytes all is shown, and nothing acts."""

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from llmprep.preview.characters import group_tokens
from llmprep.preview.plain import visible
from llmprep.preview.still import pairs_html, token_html, windows_html

PARTS = [b"\xe4", b"\xb8", b"\xad", b"\xf0\x9f", b"<", b"&", b'"', b"</script>", b"<!--", b"\0", b"\xe2\x80\xae", b" a"]
tokens = st.lists(st.one_of(st.binary(max_size=6), st.sampled_from(PARTS)), max_size=12)
SHOWN = {"div", "span", "table", "tbody", "tr", "td", "th", "caption"}


class Reader(HTMLParser):
    """What a fragment holds: its elements, their attributes, its text, the text of each element with a title."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(fragment)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.text += data


@given(tokens=tokens)
def test_tokens_are_grouped_where_characters_are_whole(tokens: list[bytes]) -> None:
    """The groups hold every token once, and each is as small as can be: its bytes decode alone as they do in place."""
    groups = list(group_tokens(tokens))
    assert [group.first for group in groups] == [sum(len(g.labels) for g in groups[:k]) for k in range(len(groups))]
    assert sum(len(group.labels) for group in groups) == len(tokens)
    bytes_of = [b"".join(tokens[group.first : group.first + len(group.labels)]) for group in groups]
    decoded = [data.decode("utf-8", "surrogateescape") for data in bytes_of]
    assert "".join(decoded) == b"".join(tokens).decode("utf-8", "surrogateescape")
    for group, text in zip(groups, decoded, strict=True):
        assert group.text == "".join(
            f"\\x{ord(c) - 0xDC00:02x}" if "\ud800" <= c < "\ue000" else visible(c) for c in text
        )
        for k in range(1, len(group.labels)):
            left = b"".join(tokens[: group.first + k]).decode("utf-8", "surrogateescape")
            assert left + b"".join(tokens[group.first + k :]).decode("utf-8", "surrogateescape") != "".join(decoded)


@given(tokens=tokens, known=st.integers(0, 12))
def test_a_fragment_shows_all_and_does_nothing(tokens: list[bytes], known: int) -> None:
    """Of any bytes, each label and id is there, in order, in elements of a table or a line that carry only looks."""
    table, ids = dict(enumerate(tokens[:known])), list(range(len(tokens)))
    labels = [label for group in group_tokens([table.get(i, b"") for i in ids]) for label in group.labels]
    wanted = "".join(f".*?{re.escape(label)}{i}" for i, label in zip(ids, labels, strict=True))
    drawn = [token_html(ids, table), windows_html([(ids, ids)], table), pairs_html([(ids, 0)], table)]

    for fragment in map(Reader, drawn):
        assert fragment.tags <= SHOWN
        assert fragment.attributes <= {"style", "title", "scope", "aria-label"}
        assert visible(fragment.text) == fragment.text
        assert re.search(wanted, fragment.text)
    assert all(fragment.startswith("<div ") and fragment.endswith("</div>") for fragment in drawn)
