"""Golden files: what was drawn, printed or said when someone last looked at it.

CONTRIBUTING says how they are written anew; read the difference before you commit it.
"""

import difflib
import os
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"


def check_golden(name: str, drawn: str) -> None:
    """Compare with a golden file; write it first where UPDATE_GOLDEN=1 asks for that."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_bytes(drawn.encode())
    wanted = path.read_bytes().decode()
    differ = "\n".join(difflib.unified_diff(wanted.splitlines(), drawn.splitlines(), lineterm="", n=0))
    assert drawn == wanted, differ
