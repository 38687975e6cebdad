"""Texts to measure with: `python texts.py FOLDER/english-MB.txt ...`; the same bytes wherever Python is the same.

`english`: words are those of Python's own documentation (`pydoc_data.topics`) and of `sample_texts/story.txt`, drawn
with Zipf's weights over their ranks there; 2 % are invented, 1 % numbers; sentences have punctuation, paragraphs an
empty line between them, and some have typographic quotes and dashes. Each megabyte has a seed of its own, so a text is
the beginning of every longer one, and ten times the text has ten times the invented words.
`chinese`: clauses of ideographs, drawn with Zipf's weights, without spaces. `code`: source files of this Python and its
packages, none twice, as far as they go. `line`: one line.
`.jsonl.zst` and `.parquet` are the same text as records of about 1,000 bytes, cut where that changes no id.
"""

import functools
import itertools
import json
import pydoc_data.topics
import random
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

SAFE_CUT = re.compile(rb"[A-Za-z](?=[ \n])|[\xe5-\xe8][\x80-\xbf]{2}(?=\xef\xbc\x8c|\xe3\x80\x82)")
"""Behind a letter and before a space, comma or full stop: GPT-2's pattern parts these two wherever they stand."""
STORY = Path(__file__).parents[2] / "sample_texts" / "story.txt"
MEGABYTE = 1_000_000
RECORD_BYTES = 1_000
RARE, NUMBER, TYPOGRAPHIC = 0.02, 0.01, 0.03
WORDS_AT_ONCE = 4096
ONSETS = [
    "b", "bl", "br", "c", "ch", "cl", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pl",
    "qu", "r", "s", "sh", "sk", "sl", "sp", "st", "t", "th", "tr", "v", "w", "z",
]  # fmt: skip
VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "ee", "ie", "oa", "ou"]
CODAS = ["", "", "", "l", "m", "n", "r", "s", "t", "ck", "ld", "mp", "nd", "ng", "nt", "rd", "st"]
ENDINGS = ["", "", "", "ed", "er", "ing", "ly", "ment", "ness", "s", "tion"]
STOPS = [".", ".", ".", ".", ".", ".", "!", "?", ";", ":"]


@functools.cache
def common_words() -> tuple[list[str], list[float]]:
    """Return the words by falling frequency, and the running sum of their weights."""
    source = "\n".join([*pydoc_data.topics.topics.values(), *[STORY.read_text(encoding="utf-8")] * 3])
    counted = Counter(re.findall(r"[A-Za-z]+(?:['\u2019-][a-z]+)*", source))
    words = sorted(counted, key=lambda word: (-counted[word], word))
    return words, list(itertools.accumulate(1 / (rank + 2.7) for rank in range(len(words))))


def invented(rng: random.Random) -> str:
    """Return a word that no dictionary has; one in four begins with a capital, as names do."""
    syllables = (rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(rng.randint(2, 3)))
    word = "".join(syllables) + rng.choice(ENDINGS)
    return word.capitalize() if rng.random() < 0.25 else word


def number(rng: random.Random) -> str:
    """Return a year, a decimal, an amount or a small number."""
    forms = (str(rng.randint(1500, 2030)), f"{rng.random() * 100:.2f}", f"{rng.randint(1000, 9999999):,}")
    return rng.choice((*forms, str(rng.randint(0, 99))))


def words(rng: random.Random) -> Iterator[str]:
    """Yield words without end."""
    known, weights = common_words()
    while True:
        drawn = rng.choices(known, cum_weights=weights, k=WORDS_AT_ONCE)
        rare, digits = int(WORDS_AT_ONCE * RARE), int(WORDS_AT_ONCE * NUMBER)
        for k, place in enumerate(rng.sample(range(WORDS_AT_ONCE), rare + digits)):
            drawn[place] = invented(rng) if k < rare else number(rng)
        yield from drawn


def sentence(rng: random.Random, supply: Iterator[str]) -> str:
    """Return a sentence of 4 to 30 words, with commas, and now and then quotes, parentheses or a dash."""
    taken = list(itertools.islice(supply, rng.randint(4, 30)))
    taken[0] = taken[0][0].upper() + taken[0][1:]
    for place in range(rng.randint(5, 9), len(taken) - 2, rng.randint(6, 11)):
        taken[place] += ","
    ornament = rng.random()
    if ornament < 0.06:
        taken[1:3] = [f"({taken[1]}", f"{taken[2]})"]
    elif ornament < 0.10:
        taken[-2] += " --"
    text = " ".join(taken) + rng.choice(STOPS)
    return f'"{text}" {next(supply)} said.' if ornament > 0.92 else text


def paragraph(rng: random.Random, supply: Iterator[str]) -> str:
    """Return a paragraph, or, one time in 40, a heading."""
    if rng.random() < 0.025:
        return " ".join(itertools.islice(supply, rng.randint(2, 6))).title()
    text = " ".join(sentence(rng, supply) for _ in range(rng.randint(2, 7)))
    if rng.random() < TYPOGRAPHIC:
        text = (
            re.sub(r'"(?=\S)', "\u201c", text).replace('"', "\u201d").replace(" -- ", " \u2014 ").replace("'", "\u2019")
        )
    return text


def megabyte(seed: int) -> bytes:
    """Return about a megabyte of whole paragraphs."""
    rng = random.Random(seed)
    supply, parts, size = words(rng), [], 0
    while size < MEGABYTE:
        parts.append(f"{paragraph(rng, supply)}\n\n".encode())
        size += len(parts[-1])
    return b"".join(parts)


def chinese_megabyte(seed: int) -> bytes:
    """Return a megabyte of clauses of 3 to 15 ideographs, some of which end a paragraph."""
    rng = random.Random(seed)
    signs = [chr(sign) for sign in random.Random(0).sample(range(0x4E00, 0x9FA6), 6000)]
    weights = list(itertools.accumulate(1 / (rank + 2.7) for rank in range(len(signs))))
    ends = ["\uff0c"] * 12 + ["\u3002"] * 6 + ["\u3001", "\uff1f", "\uff01", "\u3002\n"]
    text: list[str] = []
    while len(text) < MEGABYTE // 3:
        text += [*rng.choices(signs, cum_weights=weights, k=rng.randint(3, 15)), rng.choice(ends)]
    return "".join(text).encode()


def code(n_bytes: int) -> Iterator[bytes]:
    """Yield source files of this Python, until they have so many bytes together."""
    seen: set[str] = set()
    folders = dict.fromkeys(map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
    for path in itertools.chain.from_iterable(sorted(Path(folder).rglob("*.py")) for folder in folders):
        source = path.read_text(encoding="utf-8", errors="replace")
        if n_bytes > 0 and source not in seen:
            seen.add(source)
            n_bytes -= len(source)
            yield source.encode()


def parts_of(data: bytes, n_bytes: int) -> Iterator[bytes]:
    """Cut a text behind every so many bytes, at the next place where the parts have the ids of the whole."""
    start = 0
    while start < len(data):
        found = SAFE_CUT.search(data, start + n_bytes)
        end = found.end() if found else len(data)
        yield data[start:end]
        start = end


def write_text(path: Path, megabytes: int) -> None:
    """Write a text, computing its megabytes on all cores; the file appears when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file, ProcessPoolExecutor() as pool:
        match path.stem.partition("-")[0]:
            case "line":
                file.write(b"One line of text, by which the time to start is measured.\n")
            case "code":
                file.writelines(code(megabytes * MEGABYTE))
            case kind:
                make = {"english": megabyte, "chinese": chinese_megabyte}[kind]
                file.writelines(pool.map(make, range(megabytes), chunksize=1))
    part.replace(path)


def write_records(text: Path, path: Path) -> None:
    """Write a text as records."""
    import pyarrow as pa
    from pyarrow import parquet

    records = [{"text": part.decode()} for part in parts_of(text.read_bytes(), RECORD_BYTES)]
    part = path.with_name(f"{path.name}.part")
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(records), part)
    else:
        with pa.CompressedOutputStream(str(part), "zstd") as file:
            file.writelines(f"{json.dumps(record, ensure_ascii=False)}\n".encode() for record in records)
    part.replace(path)


def main() -> None:
    """Write the files named that are not there yet."""
    for path in map(Path, sys.argv[1:]):
        text = path.with_name(path.name.partition(".")[0] + ".txt")
        if not text.exists():
            write_text(text, int(text.stem.rpartition("-")[2]))
        if not path.exists():
            write_records(text, path)


if __name__ == "__main__":
    main()
