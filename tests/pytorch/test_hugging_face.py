"""Promises of the collates against the code of transformers and TRL themselves; skipped where these are missing."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import strategies
from support.rows import batch_of, plain

from llmprep import WindowDataset, WindowSampler
from llmprep.pytorch.batches import collate_padding_free, collate_trl

N_VOCAB = 40
pytestmark = pytest.mark.slow


@settings(max_examples=15)
@given(strategies.packed_rows(), st.booleans(), st.sampled_from([0, 2]))
def test_padding_free_is_what_transformers_makes(rows: list[Any], mask: bool, start: int) -> None:
    """It equals, with dtypes, what DataCollatorWithFlattening makes of the same parts of documents."""
    transformers = pytest.importorskip("transformers")
    batch, told = batch_of(rows, mask=mask)
    theirs = transformers.DataCollatorWithFlattening(
        return_flash_attn_kwargs=True, return_seq_idx=True, position_ids_start=start
    )([{"input_ids": part} for each in told for part in each.parts()])
    ours = collate_padding_free(batch, return_seq_idx=True, position_ids_start=start)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert getattr(ours[key], "dtype", int) == getattr(value, "dtype", int)
    assert plain(ours) == plain(theirs)


@settings(max_examples=15)
@given(strategies.packed_rows(), st.booleans())
def test_trl_takes_the_rows(rows: list[Any], mask: bool) -> None:
    """TRL's own collator makes of them what ours for transformers does, or pads them, the labels kept."""
    sft = pytest.importorskip("trl.trainer.sft_trainer")
    batch, told = batch_of(rows, mask=mask)
    taken = collate_trl(batch)
    joined = sft.DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)(copy.deepcopy(taken))
    assert plain(joined) == plain(collate_padding_free(batch, return_seq_idx=True))
    padded = sft.DataCollatorForLanguageModeling(pad_token_id=0)(copy.deepcopy(taken))
    width = padded["labels"].shape[1]
    for labels, each in zip(padded["labels"].tolist(), told, strict=True):
        assert labels[1:] == each.targets[: width - 1]


def tiny_gpt2() -> Any:
    """A GPT-2 of two layers, without dropout, made under a seed."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    no_dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 128, "vocab_size": N_VOCAB}
    sizes |= {"bos_token_id": 0, "eos_token_id": 0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **no_dropout))


@pytest.fixture
def dataset() -> WindowDataset:
    """Windows of a tokens file of documents of 9 to 20 tokens, each of which counts on from its first."""
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), (torch.arange(100) % 12 + 9).cumsum(0)])
    ids = torch.cat([(torch.arange(n) + n * k) % (N_VOCAB - 1) for k, n in enumerate(starts.diff().tolist())])
    torch.save({"token_ids": ids, "document_starts": starts[:-1]}, "counting.tokens.pt")
    return WindowDataset("counting.tokens.pt", 32, 32, documents=True)


def test_gpt2_does_not_see_across(dataset: WindowDataset) -> None:
    """With what the collate gives, a document's logits stay as they are when another one's tokens change."""
    batch: Any = collate_padding_free(dataset.__getitems__([0, 3, 5]))
    model = tiny_gpt2().eval()
    ends = batch["cu_seq_lens_q"].tolist()
    other = {**batch, "input_ids": batch["input_ids"].clone()}
    other["input_ids"][:, ends[1] : ends[2]] += 1
    assert len(ends) > 4
    with torch.no_grad():
        seen = [model(**each, use_cache=False).logits[0] for each in (batch, other)]
        alone = [model(each["input_ids"]).logits[0] for each in (batch, other)]
    for start, end in ((0, ends[1]), (ends[2], ends[-1])):
        assert torch.equal(seen[0][start:end], seen[1][start:end])
    assert not torch.equal(seen[0][ends[1] : ends[2]], seen[1][ends[1] : ends[2]])
    assert not torch.equal(alone[0][ends[2] :], alone[1][ends[2] :])


@pytest.mark.filterwarnings("ignore")
def test_gpt2_trains_with_trainer(dataset: WindowDataset) -> None:
    """Twenty steps of Trainer, whose model shifts the labels itself, lower the loss."""
    transformers = pytest.importorskip("transformers")
    choices = transformers.TrainingArguments(
        "out", max_steps=20, per_device_train_batch_size=4, learning_rate=3e-3, logging_steps=1, report_to=[],
        save_strategy="no", use_cpu=True, disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip

    class Trainer(transformers.Trainer):  # type: ignore[misc, name-defined] # its types are not read
        def _get_train_sampler(self, *_: Any) -> WindowSampler:
            return WindowSampler(dataset, seed=1)

    trainer = Trainer(tiny_gpt2(), choices, collate_padding_free, dataset)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 20
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
