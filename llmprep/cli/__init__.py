"""The command line: a leaf. Nothing of llmprep imports it, and nothing else prints.

boundary.py   main: signals, exit codes, one line for an error
show.py       the only printing of results, notes and errors
progress.py   how far a run has come, on a terminal
reports.py    what each command says of its result
commands.py   tokenize, pairs, window, embed
"""

from llmprep.cli.boundary import main

__all__ = ["main"]
