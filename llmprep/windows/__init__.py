"""Ids -> windows. Arithmetic only: nothing here reads or writes a file.

For ids of length n, max_length L and stride S, window k starts at k * S, its input is ``ids[kS : kS+L]`` and its
target the same slice moved by one. There are ``max(0, (n - 1 - L) // S + 1)`` of them: the starts are
``range(0, n - L, S)``, as in the data-loading chapter of rasbt/LLMs-from-scratch.

    counts.py     which sizes are allowed, and how many windows there are
    views.py      ids -> windows that copy nothing, and windows -> ids
    contexts.py   how much context a target has, and which contexts reach into another document
    documents.py  rows of tokens -> the parts of documents in them, their numbers, places and targets
    coverage.py   what becomes of each token: used, skipped between windows, or left at the end
    schedule.py   how many windows steps and epochs take, and which are in none
    planning.py   what a run of so many steps, tokens or epochs takes of a stream
    fitting.py    lengths -> rows of a fixed width, by best-fit decreasing
    packing.py    documents -> rows of whole documents, block by block
    packed.py     the documents of a stream -> their packed rows, by number, and what becomes of each token
    permutation.py  a seeded order in constant memory
    pairs.py      ids -> growing contexts, each with the token that comes next
"""
