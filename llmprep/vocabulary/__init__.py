"""A name or a file -> a vocabulary: ranks, pattern, special tokens, and the fingerprint of all that decides its ids.

Read `loading.load_vocabulary` first: it is the one door. Nothing is downloaded unless no folder has the file.

    loading       what names a vocabulary, or refers to one -> the vocabulary
    vocabulary    what a vocabulary is: ranks, pattern, special tokens
    fingerprint   the hash that tells it from every other
    references    which vocabulary ids are of, as their file or store states it
    packing       a vocabulary <-> one file, which travels to workers and in stores

An encoding that tiktoken names, each exactly tiktoken's, from a file verified by its hash:

    names         the name of an encoding or a model -> the encoding
    definitions   an encoding -> pattern, special tokens, and which file holds its ranks, as tiktoken defines them
    encodings     an encoding -> its vocabulary, built once
    ranks         a rank file: its names, its hash, its format
    embedded      the rank file that travels in the package, and the one that is derived from it
    folders       folders that may hold rank files, and a careful read of what lies there
    downloading   a rank file from the address that tiktoken uses, kept where tiktoken finds it
    searching     a rank file -> its content, from the nearest of these places

A file that somebody names:

    opening          a file as it was asked for -> its vocabulary
    unsaid           a file that does not say all -> what it says, and what must still be said
    tokenizer_files  a path -> the file, and which kind it is, by its content
    stated           what a file says of a vocabulary, whatever its kind
    rank_lines       a file of ranks, one a line
    special_tokens   the file of special tokens that goes with it
    tekken           Mistral's tekken.json
    minbpe           minbpe's .model
    pickled          a pickled tiktoken.Encoding, as nanochat's tokenizer.pkl, without running it
    tokenizer_json   a Hugging Face tokenizer.json, checked
    building         what a file states, and the end-of-text token -> the vocabulary

What is true of it:

    patterns         the patterns that split a text into pieces: those that are known, by name
    probing          a pattern or tokenizer that is not known, tried in another process
    trial            what that process does
    hazards          whether a tokenizer.json has to be tried so
    merges           what merging makes of each entry alone
    proof            a tokenizer.json -> ranks and patterns that give the same ids, or what stands in the way
    byte_alphabet    the characters that stand for bytes in a tokenizer.json
    token_texts      a tokenizer.json -> the bytes that each id stands for
    unknown          what becomes of text that it has no entry for
    end_of_text      which special token ends a text
    strict_json      JSON that is not trusted -> its values
    sound            whether ranks and special tokens have one meaning, and every byte
"""
