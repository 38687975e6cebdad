"""Streams, pairs and tensors <-> .pt files: one module a format, with the same verbs in each.

``write_...`` takes a `Sink` and returns the file's size in bytes; ``read_...`` takes a `PtFile` and returns its arrays,
checked; ``verify_...`` works everything out again, and yields a line for each thing that holds.

    tokens.py      ``token_ids``                        write, read, verify
    windows.py     ``input_ids`` and ``target_ids``     write, read, verify
    packing.py     runs of a stream, row by row        write, read, verify
    weights.py     a token and a positional table       write, read, verify
    pairs.py       ``contexts, lengths, targets``       write: no command reads one
    embeddings.py  ``input_embeddings``                 write: no command reads one

    verify.py        any of these -> what holds
    meta.py          ``meta``, what a file states of itself: made, and checked
    ids.py           arrays of ids: checked, converted
    vocabularies.py  ids and their vocabulary: which it is, whether they are in it, their text
    arrays.py        arrays -> the tensors of a file
    splitting.py     a stream -> those of a training and a validation file
"""
