"""Vocabularies and encoders, loaded and built once."""

import functools
from pathlib import Path

import pytest
from support.streams import Build, Load

from llmprep.tokens.backends import Encoder
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.vocabulary.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def load(vocab_dir: Path) -> Load:
    """Load a vocabulary."""
    return functools.cache(lambda name: load_vocabulary(name, str(vocab_dir)))


@pytest.fixture(scope="session")
def gpt2(load: Load) -> Vocabulary:
    """GPT-2's vocabulary."""
    return load("gpt2")


@pytest.fixture(scope="session")
def build(load: Load) -> Build:
    """Build the encoder of an encoding, a way with specials and a backend, for texts of which nobody counts blocks."""
    return functools.cache(lambda name, special, backend: Encoder(load(name), special, backend))
