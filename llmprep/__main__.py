"""``python -m llmprep`` is the ``llmprep`` command."""

from llmprep.cli import main

main()
