"""A corpus too big for one file: a folder of shards, built in parallel, read as one stream.

plan.py       corpus and options -> which bytes go into which shard; nothing of workers
build.py      plan -> shards with receipts, resumed where it stopped; receipts -> manifest
manifest.py   what a finished store says of itself
reading.py    a finished store -> one token stream, mapped, across shard boundaries
verify.py     a store or a file -> every hash and invariant checked again
"""
