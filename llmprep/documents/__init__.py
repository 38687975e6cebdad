"""Paths -> documents: find, open, decompress, decode strictly, normalise newlines, yield blocks of text.

sources.py   what the user named -> a list of inputs, checked before any is read
opening.py   an input -> its bytes: opened once, hashed, decompressed, watched for changes
blocks.py    bytes -> text in blocks that end where text may be cut
records.py   JSON Lines and Parquet -> documents, many small ones in one block
"""

from llmprep.documents.blocks import BLOCK_BYTES, SECOND_CUT, Block, Newlines, last_safe_cut, read_blocks
from llmprep.documents.opening import close_source, open_source, peek
from llmprep.documents.sources import STDIN, Source, are_gaps, count_remarks, expand_paths, find_sources, read_names

__all__ = [
    "BLOCK_BYTES",
    "SECOND_CUT",
    "STDIN",
    "Block",
    "Newlines",
    "Source",
    "are_gaps",
    "close_source",
    "count_remarks",
    "expand_paths",
    "find_sources",
    "last_safe_cut",
    "open_source",
    "peek",
    "read_blocks",
    "read_names",
]
