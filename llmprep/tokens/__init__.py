"""Blocks of text -> ids, exactly as tiktoken encodes the whole text.

stream.py      sources -> a `TokenStream`: blocks of ids, its origin before, its figures after; and its stages
backends.py    a block -> its ids, by tiktoken, which defines them, or by one that is faster
gigatoken.py   the fast backend: a pool of tokenizers whose memory is bounded
fastokens.py   the backend that is fastest on Chinese and Japanese
unicode17.py   the code points on which tiktoken and gigatoken differ
special.py     special tokens that stand in the text itself: counted, or refused
threads.py     work done ahead by several threads, its results in order
figures.py     what is counted while a stream passes, and the records of its sources for ``meta``
encoding.py    a text in memory -> its ids
content.py     ids -> the hash that says which they are
decoding.py    ids -> text
written.py     numbers in a text -> ids
merging.py     ids -> the words that they are parts of, each with the merges that led to them
spooling.py    a stream -> a temporary file, for what must be read twice
estimate.py    sources -> how many tokens they will give, from a small sample
cores.py       how many cores this process may use
projection.py  how much memory a run will take, and the effort that a limit allows
memory.py      how much memory it may use, and how much it does
"""
