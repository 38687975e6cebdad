"""Paths -> blocks of text: what the user named is found, opened, decompressed, decoded strictly and cut exactly.

Read `finding.find_sources` first, which turns paths into sources, then `reading.read_blocks`, a source into blocks.

Paths -> sources:
    finding         what the user named -> sources, each checked before any is read
    expanding       folders and patterns -> files
    patterns        what a pattern matches
    file_lists      a list of file names -> the names
    endings         what a file's name says: format, compression
    source_names    what each source is called in outputs
    sources         many of them, in columns
    names           many short strings in one
    pointers        small files that stand for large ones which were not fetched
    leaving_out     sources -> those that can be read, and which cannot, and why
    source          one input as it is known before it is read, and what has been counted of it

A source -> its content:
    opening         its bytes: opened once, hashed, watched for changes
    kinds           what files that are no plain text are, and what to do with them
    recognising     what the first bytes say: compressed how, or not a text
    decompressing   the content of compressed bytes
    zstandard       what zstandard alone needs
    spans           a part of a file, from its true begin to its true end

Content -> blocks:
    reading         the one door, whatever the format
    joining         many sources, small texts joined in one block
    cuts            where text may be cut, and which texts are joined
    blocks          text in blocks that end where text may be cut
    texts           a plain text -> blocks
    records         many small documents -> one block
    json_lines      lines -> records
    quick_json      a line -> its text, by orjson, where that is certain to be right
    parquet         rows -> records
"""
