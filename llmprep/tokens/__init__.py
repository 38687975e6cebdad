"""Blocks of text -> ids, exactly as the whole text is encoded by who defines its vocabulary.

stream.py      sources -> a `TokenStream`: blocks of ids, its origin before, its figures after; and its stages
backends.py    a block -> its ids, by who defines them, or by one that is faster
tiktoken.py    tiktoken, which defines most vocabularies
huggingface.py  what a tokenizer.json defines, and the parts of a text that others may encode for it
gigatoken.py   the fast backend: a pool of tokenizers whose memory is bounded
fastokens.py   the backend that is fastest on Chinese and Japanese
tokenizers.py  the library that defines a tokenizer.json: whole texts, in the threads that ask
verifying.py   a vocabulary -> whether each backend gives the ids that are defined
normalizing.py  the normal form of a text as that library makes it, by Python where both agree
added.py       added tokens in a text, found as that library finds them
lines.py       the characters on which two lines of that library differ
unicode17.py   the code points on which tiktoken and gigatoken differ
cutting.py     a vocabulary -> where its texts may be cut, and how small ones are joined
special.py     special tokens that stand in the text itself: counted, or refused
threads.py     work done ahead by several threads, its results in order
figures.py     what is counted while a stream passes, and the records of its sources for ``meta``
encoding.py    a text in memory -> its ids
content.py     ids -> the hash that says which they are
decoding.py    ids -> text
written.py     numbers in a text -> ids
merging.py     ids -> the words that they are parts of, each with the merges that led to them
starts.py      where documents begin in a stream
spooling.py    a stream -> a temporary file, for what must be read twice
estimate.py    sources -> how many tokens they will give, from a small sample
cores.py       how many cores this process may use
projection.py  how much memory a run will take, and the effort that a limit allows
memory.py      how much memory it may use, and how much it does
"""
