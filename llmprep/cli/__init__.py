"""The command line: a leaf. Nothing of llmprep imports it, and nothing else prints.

boundary.py   main: signals, exit codes, one line for an error
show.py       the only printing
commands.py   tokenize, pairs, window, embed
"""

from llmprep.cli.boundary import main

__all__ = ["main"]
