"""Paths -> documents: find, open, decompress, decode strictly, normalise newlines, yield blocks of text.

sources.py   what the user named -> a list of inputs, checked before any is read
opening.py   an input -> its bytes: opened once, hashed, decompressed, watched for changes
blocks.py    bytes -> text in blocks that end where text may be cut
records.py   JSON Lines and Parquet -> documents, many small ones in one block
"""
