"""README shows what the program does today: each of its blocks is run, in order, as a reader would type it."""

import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import RenderableType
from support.commands import ROOT, clean_environment
from support.golden import check_golden

from llmprep.preview.picture import draw_picture
from llmprep.preview.screen import pair_table, token_strip
from llmprep.tokens.decoding import Decoder
from llmprep.tokens.encoding import encode_text
from llmprep.vocabulary.loading import load_vocabulary
from llmprep.windows.pairs import Pairs

README, CLUSTER = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "llmprep/store/README.md"))
BLOCKS: list[tuple[str, str]] = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", README + CLUSTER, re.MULTILINE | re.DOTALL)
NOT_RUN = {
    "--executor ray": "takes a Ray cluster; tests/store/test_processes.py builds on Ray here",
    "sbatch --parsable": "takes Slurm; the array's tasks and the merge that it wraps are run here by hand",
}
"""Words that stand in one block each, which is not run, and why."""
NOT_IN_A_CLONE = (".*", "build", "dist", "__pycache__", "*.egg-info", "*.pt")


def session(block: str) -> list[tuple[str, str]]:
    """Each command of a console block with the output that README shows for it."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


@dataclass(slots=True)
class Reader:
    """Someone in a fresh clone, typing block by block; ``kept`` is what the shell has sourced so far."""

    folder: Path
    kept: list[str] = field(default_factory=list)

    def type(self, script: str, **variables: str) -> str:
        """Run a script in bash; it must succeed, and what it printed on standard output is returned."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join([*self.kept, script])],
            cwd=self.folder, env=clean_environment({"PATH": os.defpath, "PYTHONPATH": "", **variables}),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        self.kept += [line for line in script.splitlines() if line.startswith(". ")]
        return done.stdout

    def run(self, language: str, block: str) -> None:
        """Do what a reader does with a block; a console must print what README shows."""
        match language:
            case "sh":  # the script of a Slurm array runs once for each of its tasks
                array = re.search(r"^#SBATCH --array=1-(\d+)", block, re.MULTILINE)
                for task in range(1, int(array[1]) + 1) if array else [0]:
                    printed = {line.strip() for line in self.type(block, SLURM_ARRAY_TASK_ID=str(task)).splitlines()}
                    assert "make demo" not in block or ". .venv/bin/activate" in printed  # what README types next
            case "console":
                for command, shown in session(block):
                    assert self.type(command) == shown, command
            case "python":
                is_run_by_torch = "init_process_group(" in block
                name = "train.py" if is_run_by_torch else "block.py"
                (self.folder / name).write_text(block, encoding="utf-8")
                self.type("torchrun --nproc-per-node 2 train.py" if is_run_by_torch else "python block.py")


def clone(folder: Path) -> Path:
    """Make a clone, with what `make install` would install: a .venv that has llmprep from that clone."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_IN_A_CLONE))
    venv.create(folder / ".venv")
    (packages,) = (folder / ".venv").glob("lib/python*/site-packages")
    installed = [path for path in sys.path if path.endswith("-packages")]
    (packages / "installed.pth").write_text("\n".join([str(folder), *installed]), encoding="utf-8")
    for name, module in (("llmprep", "llmprep.__main__"), ("torchrun", "torch.distributed.run")):
        command = folder / ".venv" / "bin" / name
        command.write_text(f"#!{command.with_name('python')}\nfrom {module} import main\nmain()\n")
        command.chmod(0o755)
    (folder / ".venv" / "installed").touch()
    return folder


@pytest.mark.slow
def test_every_block_works_as_typed(tmp_path: Path) -> None:
    """In a fresh clone each block runs, in README's order, and consoles print what README shows."""
    reader = Reader(clone(tmp_path / "clone"))
    for language, block in BLOCKS:
        if not any(words in block for words in NOT_RUN):
            reader.run(language, block)
        for wrapped in re.findall(r'--wrap "(.*)"', block):
            reader.type(wrapped)


@pytest.mark.slow
def test_the_page_on_vocabularies_works(tmp_path: Path) -> None:
    """What the page on vocabularies shows in Python is so, with the tokenizer that README trains."""
    page = (ROOT / "llmprep" / "vocabulary" / "README.md").read_text(encoding="utf-8")
    reader = Reader(clone(tmp_path / "clone"))
    reader.kept.append(". .venv/bin/activate")
    for block in [block for _, block in BLOCKS if "BPETokenizer" in block] + re.findall(
        r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL
    ):
        reader.run("python", block)


def test_all_blocks_are_found_and_each_exception_is_one() -> None:
    """No block escapes the test above, there are many, and each reason not to run one is for one that is there."""
    assert (README + CLUSTER).count("```") == 2 * len(BLOCKS)
    assert {language for language, _ in BLOCKS} == {"sh", "console", "python"}
    assert sum(len(session(block)) for language, block in BLOCKS if language == "console") >= 5
    assert "\n`torchrun --nproc-per-node 2 train.py` runs it" in README
    assert [sum(words in block for _, block in BLOCKS) for words in NOT_RUN] == [1] * len(NOT_RUN)


def test_picture_is_current() -> None:
    """The picture in README is what the preview draws now."""
    text = (ROOT / "sample_texts" / "story.txt").read_text(encoding="utf-8")
    ids, decode = encode_text(text), Decoder.of(load_vocabulary("gpt2"))
    items: list[RenderableType] = [
        token_strip(ids[:40].tolist(), decode, 92),
        pair_table(Pairs(ids[18:23], 4), decode),
    ]
    check_golden("preview.svg", draw_picture(items, "llmprep", 92))
