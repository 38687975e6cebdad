# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
SAMPLES := $(wildcard sample_texts/*.txt sample_texts/*.py)
SAMPLE_WINDOWS := $(patsubst sample_texts/%,build/samples/%.windows.pt,$(SAMPLES))
WINDOW_OPTIONS ?= --max-length 64 --stride 32
SIZES ?= 1 10 100
LOADERS_MB ?= 200
PYTEST_OPTIONS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | column -t -s "$$(printf '\t')"

install: .venv/installed  ## make .venv and install llmprep into it

.venv/installed: pyproject.toml constraints.txt
	@echo 'Installing llmprep and its libraries into .venv. One of them is torch, which is large: on Linux, with the libraries'
	@echo 'of CUDA, several GB. That takes minutes, once.'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) -e '.[fast]'
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) -e '.[dev]'
	@touch $@

.venv/installed-bench: .venv/installed
	$(PIP) -e '.[bench]' || $(PIP) -e '.[fast,parquet,zstd]'  # what is not installed is listed as such
	@touch $@

demo: install  ## install, then take a short story from text to embeddings and show each step
	@mkdir -p build
	$(BIN)/llmprep tokenize sample_texts/story.txt -o build/story.tokens.pt
	@echo
	$(BIN)/llmprep pairs sample_texts/story.txt --start 50
	@echo
	$(BIN)/llmprep window build/story.tokens.pt --max-length 4 --stride 4 --explain -o build/story.windows.pt
	@echo
	$(BIN)/llmprep embed build/story.windows.pt -o build/story.embeddings.pt
	@printf '\nTo put llmprep on the path of this shell:\n  . $(BIN)/activate\nThen try, with this text or one of your own:\n'
	@printf '  %s\n' 'llmprep pairs sample_texts/story.txt --context-size 8' \
	  'llmprep window sample_texts/story.txt --max-length 8 --stride 2 --explain' \
	  'llmprep inspect build/story.windows.pt --around tables' 'llmprep tokenize sample_texts/ -o build/store/' \
	  'llmprep help window'

test: .venv/installed-dev  ## install what the tests need, then run them
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow" $(PYTEST_OPTIONS)

test-slow: .venv/installed-dev  ## run the tests that take more than a few seconds
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m slow $(PYTEST_OPTIONS)

tokenizers: .venv/installed-dev  ## fetch the vocabularies that slow tests try; what no registry gives is named, and not tried
	$(BIN)/python tests/support/real_files.py

lint: .venv/installed-dev  ## ruff: format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/installed-dev  ## mypy, strict
	$(BIN)/mypy

coverage: .venv/installed-dev  ## run the fast tests; fail where they take under 95 % of branches
	$(BIN)/coverage erase
	$(MAKE) test PYTEST_OPTIONS="--cov --cov-report="
	$(BIN)/coverage report
	$(BIN)/coverage json -q -o build/coverage.json
	@$(BIN)/python -c 'import json; found = json.load(open("build/coverage.json"))["totals"]; \
	share = 100 * found["covered_branches"] / found["num_branches"]; \
	print(f"{share:.1f} % of branches covered; at least 95 are wanted"); raise SystemExit(share < 95)'

check: lint types test  ## what must pass before a commit

bench: .venv/installed-bench  ## compare speed and memory with other tools, and with what bounds them; SIZES="1 10" are megabytes
	$(BIN)/python tests/bench/run.py $(SIZES)
	$(BIN)/python tests/bench/loaders.py $(LOADERS_MB)
	$(BIN)/python tests/bench/limits.py $(SIZES)

# The Makefile way to build a data set: one pattern rule; only what changed is built again.
samples-dataset: $(SAMPLE_WINDOWS)  ## build the windows of every sample text

build/samples/%.windows.pt: sample_texts/% | install build/samples
	$(BIN)/llmprep window $< $(WINDOW_OPTIONS) --preview 0 -o $@

build/samples:
	@mkdir -p $@

clean:  ## remove what was built
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*

.PHONY: help install demo test test-slow tokenizers lint types coverage check bench samples-dataset clean
