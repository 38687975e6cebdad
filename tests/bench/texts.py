"""English-like text, the same bytes wherever Python is the same: `python texts.py FOLDER/english-MB.txt ...`.

Words are those of Python's own documentation (`pydoc_data.topics`) and of `sample_texts/story.txt`, drawn with Zipf's
weights over their ranks there; 2 % are invented, 1 % numbers; sentences have punctuation, paragraphs an empty line
between them, and some have typographic quotes and dashes. Each megabyte has a seed of its own, so a text is the
beginning of every longer one, and ten times the text has ten times the invented words.
`english-MB.jsonl` is the same text as JSON Lines.
"""

import functools
import itertools
import json
import pydoc_data.topics
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

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


def write_text(path: Path, megabytes: int) -> None:
    """Write a text, computing its megabytes on all cores; the file appears when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file, ProcessPoolExecutor() as pool:
        file.writelines(pool.map(megabyte, range(megabytes), chunksize=1))
    part.replace(path)


def write_records(text: Path, path: Path) -> None:
    """Write a text's paragraphs as JSON Lines, a record for each 1,000 bytes: about as many as kilobytes."""
    part = path.with_suffix(".part")
    with text.open("rb") as source, part.open("w", encoding="utf-8") as file:
        end = count = 0
        while held := list(taken(source, (count + 1) * RECORD_BYTES - end)):
            record = {"id": count, "text": b"".join(held).decode().rstrip("\n")}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            end, count = end + sum(map(len, held)), count + 1
    part.replace(path)


def taken(lines: Iterable[bytes], n_bytes: int) -> Iterator[bytes]:
    """Yield lines up to the empty one that ends a paragraph behind so many bytes."""
    for line in lines:
        yield line
        n_bytes -= len(line)
        if line == b"\n" and n_bytes <= 0:
            return


def main() -> None:
    """Write the files named that are not there yet."""
    for path in map(Path, sys.argv[1:]):
        text = path.with_suffix(".txt")
        if not text.exists():
            write_text(text, int(text.stem.rpartition("-")[2]))
        if path.suffix == ".jsonl" and not path.exists():
            write_records(text, path)


if __name__ == "__main__":
    main()
