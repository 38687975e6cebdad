"""The command line: a leaf. Nothing of llmprep imports it, and nothing else prints.

boundary.py   main: exit codes, one line for an error
stopping.py   the signals that end a run
show.py       the only printing of results, notes and errors
cores.py      how many jobs to run where none were chosen
progress.py   how far a run has come, on a terminal
reports.py    what each command says of its result
building.py   a token store: what tokenize -o FOLDER/ and merge do
inspecting.py what inspect shows and checks
naming.py     names of outputs, and what they must not replace
commands.py   tokenize, pairs, window, embed, inspect, merge
"""

from llmprep.cli.main import main

__all__ = ["main"]
