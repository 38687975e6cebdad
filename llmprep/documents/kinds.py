"""What files that are no plain text are, by their first bytes and their names, and what to do with them."""

from __future__ import annotations

import re

from llmprep.documents.endings import plain_ending

UNPACK = "unpack it first: {} | llmprep ... -"
CONVERT = "convert it first"
_EXTRACT = "take its text first: {} | llmprep ... -"
_PLAIN = _EXTRACT.format("pandoc -t plain FILE")
_IDS = "token ids in it go to WindowDataset from Python: {}"
_LOAD = "save its texts as JSON Lines or Parquet first, for example with {}"
PT_FILE = "a .pt file"
SIGNATURES = tuple(
    (re.compile(pattern, re.DOTALL), what, advice)
    for pattern, what, advice in (
        (rb"\xff\xfe\x00\x00", "UTF-32 text (little-endian)", CONVERT),
        (rb"\x00\x00\xfe\xff", "UTF-32 text (big-endian)", CONVERT),
        (rb"\xff\xfe", "UTF-16 text (little-endian)", CONVERT),
        (rb"\xfe\xff", "UTF-16 text (big-endian)", CONVERT),
        (rb"\x89PNG\r\n", "a PNG image", CONVERT),
        (rb"\xff\xd8\xff", "a JPEG image", CONVERT),
        (rb"GIF8[79]a.{0,64}\x00", "a GIF image", CONVERT),
        (
            rb"%PDF-[12]\.\d[ \t]*[\r\n]+(?:%[\x80-\xff]{4}|(?:%[^\r\n]*[\r\n]+)*\d+ \d+ obj)",
            "a PDF document",
            _EXTRACT.format("pdftotext FILE -"),
        ),
        (
            rb"PK\x03\x04.{26}[^/]{1,120}/(?:data\.pkl|data/0|\.data|byteorder)",
            PT_FILE,
            "give one alone, or all the texts that they were made from",
        ),
        (rb"PK\x03\x04.{26}mimetypeapplication/epub\+zip", "an EPUB book", _PLAIN),
        (rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis", "an OpenDocument file", _PLAIN),
        (rb"PK\x03\x04", "a zip archive", UNPACK.format("unzip -p FILE")),
        (rb"PAR1.{0,64}[\x00-\x08\x0e-\x1f]", "a Parquet file", "give it a name that ends in .parquet"),
        (rb"\x1f\x9d", "data of compress (.Z)", UNPACK.format("gzip -dc FILE")),
        (rb"\x04\x22\x4d\x18", "lz4 data", UNPACK.format("lz4 -dc FILE")),
        (rb"LZIP\x01", "lzip data", UNPACK.format("lzip -dc FILE")),
        (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK.format("7z x -so FILE")),
        (rb"Rar!\x1a\x07", "a RAR archive", UNPACK.format("unrar p -inul FILE")),
        (rb"\x7fELF", "a program", CONVERT),
        (rb"SQLite format 3\x00", "an SQLite database", _LOAD.format("sqlite3 -json")),
        (rb".{257}ustar(?:\x00|  \x00)", "a tar archive", UNPACK.format("tar -xOf FILE")),
    )
)
"""What is not a text, by its first bytes. More is asked for of a signature that a text, too, might begin with."""
_NEVER_UTF8 = tuple(
    (re.compile(pattern, re.DOTALL), what, advice)
    for pattern, what, advice in (
        (rb"ARROW1\x00\x00|\xff\xff\xff\xff.{3}\x00", "an Arrow file", _LOAD.format("pyarrow or datasets")),
        (rb"\x93NUMPY", "a NumPy array", _IDS.format("WindowDataset(np.load(FILE), ...)")),
        (rb".{5}\x00{3}\{", "a safetensors file", _IDS.format("WindowDataset(load_file(FILE)[KEY], ...)")),
        (rb"\x80[\x02-\x05].", "a Python pickle", _LOAD.format("Python")),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document of the old kind", "save it as plain text first"),
        (rb"\x89HDF\r\n", "an HDF5 file", _LOAD.format("h5py")),
        (rb"Obj\x01", "an Avro file", _LOAD.format("fastavro")),
        (rb"GGUF.\x00", "a GGUF model", "it holds no text to train on"),
        (rb"ID3[\x02-\x04]\x00|OggS\x00|fLaC\x00|RIFF.{4}(?:WAVE|AVI )|\x00\x00.{2}ftyp", "sound or video", CONVERT),
    )
)
"""The same of files that hold a NUL near their start, or begin with what UTF-8 does not have: no text can be one."""
_IN_ZIP = {
    ".docx": ("a Word document", _PLAIN),
    ".xlsx": ("an Excel workbook", _EXTRACT.format("xlsx2csv FILE")),
    ".pptx": ("a PowerPoint file", "save it as plain text first"),
    ".npz": ("NumPy arrays", _IDS.format("WindowDataset(np.load(FILE)[KEY], ...)")),
}
"""What a zip archive is by its name."""
_BY_NAME = {
    ".bin": ("raw numbers or a model", _IDS.format("WindowDataset(np.fromfile(FILE, np.uint16), ...)")),
    ".dat": ("binary data", CONVERT),
    ".arrow": ("an Arrow file", _LOAD.format("pyarrow or datasets")),
    ".feather": ("a Feather file", _LOAD.format("pyarrow")),
    ".pkl": ("a Python pickle", _LOAD.format("Python")),
    ".exe": ("a program", CONVERT),
}
"""What a file of this name is, where its first bytes are not UTF-8 and tell nothing else."""
_AS_PLAIN = "is read as plain text, {} too"
_MARKUP = {
    **dict.fromkeys(
        (".html", ".htm", ".xhtml"),
        f"{_AS_PLAIN.format('its HTML')}; for its words alone: pandoc -f html -t plain FILE | llmprep ... -",
    ),
    **dict.fromkeys((".xml", ".svg"), _AS_PLAIN.format("its XML")),
    ".ipynb": f"is a notebook and {_AS_PLAIN.format('its JSON')}; for its cells alone: "
    "jupyter nbconvert --to markdown --stdout FILE | llmprep ... -",
    ".csv": f"is a table and {_AS_PLAIN.format('commas and quotes')}; for one column: "
    "csvjson --stream FILE | llmprep ... --field NAME -",
    ".tsv": f"is a table and {_AS_PLAIN.format('tabs')}; for one column: "
    "csvjson --tabs --stream FILE | llmprep ... --field NAME -",
    ".json": f"is JSON and {_AS_PLAIN.format('brackets and quotes')}; an array of records as JSON Lines: "
    "jq -c '.[]' FILE | llmprep ... --field NAME -",
    ".rtf": f"{_AS_PLAIN.format('its RTF markup')}; for its words alone: pandoc -f rtf -t plain FILE | llmprep ... -",
}
"""What is said of a text by its name: each continues a sentence that begins with it."""


def signature_of(path: str, head: bytes) -> tuple[str, str]:
    """Return what a file with these first bytes is, and what to do with it; an empty name where they tell nothing."""
    ending = plain_ending(path)
    for signature, what, advice in (*_NEVER_UTF8, *SIGNATURES):
        if signature.match(head):
            return _IN_ZIP.get(ending, (what, advice)) if what == "a zip archive" else (what, advice)
    return _BY_NAME[ending] if ending in _BY_NAME and not _begins_as_utf8(head) else ("", "")


def _begins_as_utf8(head: bytes) -> bool:
    """Tell whether bytes are UTF-8, but for a character that their end may have cut."""
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.end == len(head) and error.reason == "unexpected end of data"
    return True


def markup_remark(path: str) -> str | None:
    """Return what should be said of a text of this name: that more than its words becomes tokens."""
    return _MARKUP.get(plain_ending(path))


def name_of_nuls(head: bytes) -> str:
    """Return what bytes with many NULs are: the places of the NULs show how many bytes a character has."""
    empty = [head[k::4].count(0) * 4 > 0.7 * len(head) for k in range(4)]
    match empty:
        case [False, True, True, True]:
            return "UTF-32 text (little-endian, without a mark)"
        case [True, True, True, False]:
            return "UTF-32 text (big-endian, without a mark)"
        case [False, True, False, True]:
            return "UTF-16 text (little-endian, without a mark)"
        case [True, False, True, False]:
            return "UTF-16 text (big-endian, without a mark)"
        case _:
            return f"binary data ({head.count(0)} NUL bytes near its start)"
