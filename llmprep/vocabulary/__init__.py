"""A name -> a vocabulary: ranks, pattern, special tokens, each exactly tiktoken's, from a file verified by its hash.

Read `loading.load_vocabulary` first: it is the one door. Nothing is downloaded unless no folder has the file.

    names         the name of an encoding or a model -> the encoding
    definitions   an encoding -> pattern, special tokens, and which file holds its ranks, as tiktoken defines them
    ranks         a rank file: its names, its hash, its format
    stated        what a file says of a vocabulary, whatever its kind
    vocabulary    what a vocabulary is: ranks, pattern, special tokens
    embedded      the rank file that travels in the package, and the one that is derived from it
    folders       folders that may hold rank files, and a careful read of what lies there
    downloading   a rank file from the address that tiktoken uses, kept where tiktoken finds it
    searching     a rank file -> its content, from the nearest of these places
    loading       an encoding -> its vocabulary, built once
"""
