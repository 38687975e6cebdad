"""Where bytes go, whole or nothing.

    checking.py   may this place be written to? asked before any work
    writing.py    a checked place -> a sink; the file appears under its name when it is complete
    temporary.py  the file that is written first, and what killed runs have left of such files
    mapping.py    an open file -> its bytes in memory

Only what one function needs of a POSIX system is used, in that function, which says what it does elsewhere.
"""
