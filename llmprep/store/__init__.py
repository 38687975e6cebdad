"""A corpus too big for one file: a folder of shards, built in parallel, read as one stream.

plan.py       corpus and options -> which bytes go into which shard; nothing of workers
content.py    whether a source is still the same
folder.py     the files of the folder while it is built
own.py        what may lie in that folder, and nothing that leads elsewhere
lock.py       who holds the folder
prepare.py    plan -> the folder that is built by it: new, or begun for the same
build.py      plan -> shards with receipts, wherever they are built
receipts.py   the shards that are done already, and need not be built
merge.py      the receipts of all shards -> the manifest
form.py       the form of a manifest, and what is wrong with one
manifest.py   what a finished store says of itself
reading.py    a finished store -> one token stream, mapped, across shard boundaries
where.py      a token's place in the stream -> the file, the document and the bytes it came from
verify.py     a store -> every hash and every invariant checked again
"""
