"""Arrays <-> .pt files, without torch.

A .pt file is a stored zip: one small pickle that describes tensors, and one aligned record of raw
bytes per storage. Several tensors may be views of one storage, which is what makes overlapping
windows cost nothing.

    layout.py    the names, dtypes and tensor views that writer and reader share
    writing.py   blocks of arrays -> .pt, as a stream, byte for byte the same everywhere
    reading.py   .pt -> memory-mapped arrays, trusting nothing
    pickles.py   the pickle inside -> its values, without running it
"""
