"""A corpus too big for one file: a folder of shards, built in parallel, read as one stream.

    texts --build--> plan --> shards with receipts --merge--> manifest
                                    a finished store --reading--> one stream of ids

The files of a store, and its folder:

columns.py      what they state of each file, in columns: stamps, pieces
schema.py       what manifest, plan and receipts state, as values and as JSON
format_1.py     the format before, which has rows -> columns
faults.py       what is wrong with such JSON; nothing in it is trusted
sealed.py       files of a store's own: written whole or not at all, with a seal that shows every change
folder.py       the names in a store's folder, and which folder one may be built in
manifest.py     manifest, plan and receipts, read and checked
lock.py         who holds the folder
locks.py        the two kinds of lock: the system's own, and files

Building:

build.py        the way of a build from its inputs to its manifest: `build_store`
content.py      whether a source is still the same
vetting.py      which inputs cannot be read and are left out, found by the workers
plan.py         corpus and options -> which bytes go into which shard; nothing of workers
prepare.py      plan -> the folder that is built by it: new, or begun for the same
receipts.py     the shards that are done already, and need not be built
shards.py       one shard, wherever it is built
executors.py    what builds shards: this process, or another kind of workers
processes.py    worker processes on this machine
ray_cluster.py  workers on a Ray cluster
unfinished.py   which shards of a begun store are done, and how to go on
carrying.py     the vocabulary that a store carries
merge.py        the receipts of all shards -> the manifest: `merge_store`

Using:

reading.py      a finished store -> one token stream, mapped, across shard boundaries: `TokenStore`
beginnings.py   where documents begin in a shard
documents.py    a store -> its documents: where each begins and ends, and which record it is
provenance.py   a token's place in the stream -> the file, the document and the bytes it came from
tracing.py      many runs of tokens -> the same, each file read no more than once
search.py       a text -> the tokens that hold it
packing.py      the documents of a store -> an index of the rows that they are packed into
packings.py     the indexes that lie there, compared with what packing gives anew
verify.py       a store -> every hash and every invariant checked again

Whether it is good to train on, of a store and of a file:

check.py        a store or a file -> findings: `check_store`
findings.py     what was counted -> a number, a verdict and a sentence for each check
survey.py       a corpus -> all that is counted of it, in one pass
portions.py     a stream with documents in it -> portions of it
document_hashes.py  the documents of a portion -> what their ids add to a hash of each
duplicates.py   hashes -> documents of the same ids
"""
