"""What was counted of a corpus -> findings: a number, a verdict, and what they mean, one for each check."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from llmprep.errors import plural, shorten
from llmprep.store.survey import Copied, Survey
from llmprep.tokens.decoding import Decoder
from llmprep.vocabulary.vocabulary import Vocabulary

Verdict = Literal["fine", "look at this", "ruins a run", "not checked"]

COMMONEST = 10
"""Ids that are listed."""
COMMONEST_SAID = 4
TOKEN_CHARS = 20
"""How much of a token's text a finding shows."""
ENOUGH = 100
"""Tokens for each id of a vocabulary, from which on it says something that an id does not occur."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. ``value`` is its number, None where it was ``not checked``; ``says`` is a sentence.

    ``figures`` are what else was counted, as values of a JSON object.
    """

    check: str
    verdict: Verdict
    value: float | int | None
    says: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bounds:
    """From which share on a finding is worth a look, and from which on it ruins a run."""

    look: float
    ruins: float

    def judge(self, share: float) -> Verdict:
        """Return the verdict on a share."""
        return "ruins a run" if share > self.ruins else "look at this" if share > self.look else "fine"


LEAST_BITS = 1.0, 4.0
"""Bits a token below which a run is ruined, or a look worth while. English letters have 4.1 to 4.5 bits each, tokens of
a vocabulary of thousands 8 to 11; below 1 there is less to learn than in the tosses of a coin. Of few tokens, which
cannot have more than the logarithm of their number, a quarter and a half of that."""
COMMON = Bounds(0.25, 0.5)
"""Of the commonest id. A space is 0.18 of English letters, and the commonest token of a large vocabulary 0.05. Where it
is over a half, always to say the same is right more often than not: padding, or a conversion that failed."""
ENDS = Bounds(0.1, 0.4)
"""Of end-of-text. From 0.1 on, documents have fewer than nine tokens on the average; from 0.4 on, fewer than two."""
UNKNOWN = Bounds(0.001, 0.05)
"""Of the unknown token. A vocabulary that fits its text needs it for a rare sign; at 0.05, once in every sentence."""
EMPTY = Bounds(0.0, 0.1)
"""Of documents without tokens: none is expected. Each is a separator after a separator, which a model learns to say."""
ONE_TOKEN = Bounds(0.01, 0.5)
"""Of documents of one token, which nothing can be learned from but how often they are."""
COPIED = Bounds(0.01, 0.25)
"""Of tokens in copies of earlier documents. Texts from the web have some; above a quarter, one in four tokens was seen
before. Hernandez et al., "Scaling Laws and Interpretability of Learning from Repeated Data" (2022), halve a model's
effective size by a tenth of copies, where these are of few documents."""
LEAKED = Bounds(0.001, 0.05)
"""Of val's tokens, in documents that train has too. A document learned by heart has next to no loss: at 0.05, the loss
is too low by more than what tells one model from the next better one."""
SEEN_LITTLE = 0.1
"""Of a vocabulary's ids: if fewer occur, in many tokens, it is hardly one for these texts."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a corpus beside its ids, or why it is not.

    ``vocabulary`` is that of the ids, or else the reason why there is none; ``undivided`` is why it is not known where
    documents begin, or nothing. ``separated``: an end-of-text id stands between documents. ``textless`` are how many
    inputs and how many records gave no document. ``model_vocab`` is how many ids the model has room for.
    ``tell_source`` says what the document of a number is.
    """

    vocabulary: Vocabulary | str
    undivided: str = ""
    separated: bool = False
    textless: tuple[int, int] = (0, 0)
    model_vocab: int | None = None
    tell_source: Callable[[int], str] = lambda number: f"document {number:,}, counted from 0,"


def find(survey: Survey, known: Known) -> Iterator[Finding]:
    """Yield the findings, always all of them, in the same order."""
    yield _entropy(survey)
    yield _commonest(survey, known)
    yield _used(survey)
    yield _end_of_text(survey, known)
    yield _unknown(survey, known)
    if survey.n_documents is None:
        for check in ("empty_documents", "one_token_documents", "duplicates", "train_and_val"):
            yield _unchecked(check, f"where documents begin is not known: {known.undivided}")
    else:
        yield _empty(survey.n_documents, survey.n_empty, known)
        yield _single(survey.n_documents, survey.n_single)
        yield _duplicates(survey, survey.copied, known.tell_source)
        yield _train_and_val(survey, survey.copied)
    yield _model_vocab(survey, known.model_vocab)


# --- of the ids -----------------------------------------------------------------------------------


def _entropy(survey: Survey) -> Finding:
    shares = survey.counts[survey.counts > 0] / max(1, survey.n_tokens)
    bits = float(-(shares * np.log2(shares)).sum()) + 0.0  # no minus before a zero
    most = math.log2(max(1, survey.n_tokens))
    ruins, look = min(LEAST_BITS[0], most / 4), min(LEAST_BITS[1], most / 2)
    verdict: Verdict = "ruins a run" if bits < ruins else "look at this" if bits < look else "fine"
    says = f"{bits:.2f} bits a token, if each is taken alone; this vocabulary has room for {survey.most_bits:.2f}"
    return Finding("entropy", verdict, bits, says)


def _commonest(survey: Survey, known: Known) -> Finding:
    order = np.argsort(-survey.counts, kind="stable")[:COMMONEST]
    listed = [_of_id(survey, known, token_id) for token_id in order[survey.counts[order] > 0].tolist()]
    ends = _eot_id(known)
    share = max((each["share"] for each in listed if each["id"] != ends), default=0.0)
    shown = [f"{each['id']}{_quoted(each)} {percent(each['share'])}" for each in listed[:COMMONEST_SAID]]
    verdict, figures = COMMON.judge(share), {"ids": listed}
    return Finding("commonest", verdict, share, ", ".join(shown) or "there are no tokens", figures)


def _of_id(survey: Survey, known: Known, token_id: int) -> dict[str, Any]:
    count = int(survey.counts[token_id])
    values = {"id": token_id, "count": count, "share": count / survey.n_tokens}
    if isinstance(known.vocabulary, str):
        return values
    return values | {"text": Decoder.of(known.vocabulary)([token_id])}


def _quoted(values: Mapping[str, Any]) -> str:
    return f' "{shorten(values["text"], TOKEN_CHARS)}"' if "text" in values else ""


def _used(survey: Survey) -> Finding:
    n_vocab, n_used = len(survey.counts), int(np.count_nonzero(survey.counts))
    share, enough = n_used / n_vocab, survey.n_tokens >= ENOUGH * n_vocab
    says = f"{n_used:,} of {n_vocab:,} ids occur, {percent(share)}"
    if not enough:
        says += f"; of {plural(survey.n_tokens, 'token')} no more can be expected" * (share < SEEN_LITTLE)
    return Finding("vocabulary_used", "look at this" if enough and share < SEEN_LITTLE else "fine", share, says)


def _end_of_text(survey: Survey, known: Known) -> Finding:
    ends = _eot_id(known)
    if ends is None:
        reason = known.vocabulary if isinstance(known.vocabulary, str) else "the vocabulary has no such token"
        return _unchecked("end_of_text", reason)
    count = int(survey.counts[ends])
    share, n_between = _share(count, survey.n_tokens), survey.n_separators(separated=known.separated)
    figures = {"count": count, "in_texts": None if n_between is None else count - n_between}
    says = f"{percent(share)} of the tokens, {count:,} in all"
    if figures["in_texts"]:
        says += f", {figures['in_texts']:,} of them in the texts themselves"
    verdict = ENDS.judge(share)
    if not count and (survey.n_documents or 0) > 1:
        verdict, says = "look at this", "none, though there are several documents: where one ends is not said"
    return Finding("end_of_text", verdict, share, says, figures)


def _unknown(survey: Survey, known: Known) -> Finding:
    if isinstance(known.vocabulary, str):
        return _unchecked("unknown", known.vocabulary)
    unknown = known.vocabulary.unknown_id
    if unknown is None:
        return _unchecked("unknown", "the vocabulary has no token that stands for text it lacks")
    count = int(survey.counts[unknown])
    if unknown == known.vocabulary.eot_id:
        n_between = survey.n_separators(separated=known.separated)
        if n_between is None:
            return _unchecked("unknown", "the token for it is also the end of text, and documents are not known")
        count -= n_between
    share, text = _share(count, survey.n_tokens), shorten(Decoder.of(known.vocabulary)([unknown]), TOKEN_CHARS)
    says = f"{percent(share)} of the tokens are {unknown} {text}, which stands for text that the vocabulary lacks"
    return Finding("unknown", UNKNOWN.judge(share), share, says, {"count": count})


def _model_vocab(survey: Survey, n_rows: int | None) -> Finding:
    if n_rows is None:
        return _unchecked("model_vocab", "model_vocab, how many ids the model has room for, is not given")
    n_vocab, n_beyond = len(survey.counts), int(survey.counts[n_rows:].sum())
    largest = int(np.flatnonzero(survey.counts)[-1]) if survey.n_tokens else 0
    figures = {"largest_id": largest, "n_vocab": n_vocab, "model_vocab": n_rows}
    if n_beyond:
        says = f"{n_beyond:,} of {survey.n_tokens:,} tokens have no row in a model of {n_rows:,} ids; the largest "
        says += f"is {largest}"
        return Finding("model_vocab", "ruins a run", n_beyond, says, figures)
    if n_vocab > n_rows:
        says = f"the vocabulary has {plural(n_vocab, 'id')}, the model {n_rows:,}; none that it lacks occurs here"
        return Finding("model_vocab", "look at this", 0, says, figures)
    more = f", {n_rows - n_vocab:,} more than the vocabulary has" if n_rows > n_vocab else ""
    return Finding("model_vocab", "fine", 0, f"each id has a row in a model of {n_rows:,}{more}", figures)


# --- of the documents -----------------------------------------------------------------------------


def _empty(n_documents: int, count: int, known: Known) -> Finding:
    share, (n_inputs, n_records) = _share(count, n_documents), known.textless
    says = f"{count:,} of {n_documents:,} documents have no token"
    without = [plural(n_inputs, "input")] * (n_inputs > 0) + [plural(n_records, "record")] * (n_records > 0)
    if without:
        says += f"; {' and '.join(without)} without text gave none"
    figures = {"count": count, "n_documents": n_documents, "textless_inputs": n_inputs, "textless_records": n_records}
    return Finding("empty_documents", EMPTY.judge(share), share, says, figures)


def _single(n_documents: int, count: int) -> Finding:
    share = _share(count, n_documents)
    says = f"{count:,} of {n_documents:,} documents have one token"
    figures = {"count": count, "n_documents": n_documents}
    return Finding("one_token_documents", ONE_TOKEN.judge(share), share, says, figures)


def _duplicates(survey: Survey, copied: Copied, tell_source: Callable[[int], str]) -> Finding:
    share = _share(copied.n_tokens, survey.n_tokens)
    says = f"{copied.n_documents:,} of {survey.n_documents or 0:,} documents are copies of an earlier one"
    says += f", {percent(share)} of the tokens" if copied.n_documents else ""
    number, times = copied.most
    figures = {"n_copies": copied.n_documents, "n_tokens": copied.n_tokens}
    if times:
        says += f"; {tell_source(number)} is there {times + 1:,} times"
        figures |= {"most_copied": number, "times": times + 1}
    return Finding("duplicates", COPIED.judge(share), share, says, figures)


def _train_and_val(survey: Survey, copied: Copied) -> Finding:
    check = "train_and_val"
    if survey.val is None:
        return _unchecked(check, "there are no splits train and val here")
    if not survey.n_in_val:
        return _unchecked(check, "no document lies whole in val")
    n_tokens = survey.val[1] - survey.val[0]
    share = _share(copied.n_leaked_tokens, n_tokens)
    says = f"{copied.n_leaked:,} of {survey.n_in_val:,} documents that lie in val are in train too"
    says += f", {percent(share)} of its tokens" if copied.n_leaked else ""
    figures = {"n_copies": copied.n_leaked, "n_documents": survey.n_in_val, "n_tokens": copied.n_leaked_tokens}
    return Finding(check, LEAKED.judge(share), share, says, figures)


# --- in words -------------------------------------------------------------------------------------


def _unchecked(check: str, reason: str) -> Finding:
    return Finding(check, "not checked", None, reason)


def _eot_id(known: Known) -> int | None:
    return None if isinstance(known.vocabulary, str) else known.vocabulary.eot_id


def _share(count: int, whole: int) -> float:
    return count / whole if whole else 0.0


def percent(share: float) -> str:
    """Return a share in words, such that 0 % and 100 % are said of nothing else than none and all.

    >>> percent(0.99996), percent(1.0), percent(0.00001), percent(0.1234)
    ('over 99.99 %', '100 %', 'under 0.01 %', '12.34 %')
    """
    if 0 < share < 0.0001:
        return "under 0.01 %"
    if 0.9999 < share < 1:
        return "over 99.99 %"
    return f"{100 * share:.2f} %" if 0 < share < 1 else f"{100 * share:.0f} %"
