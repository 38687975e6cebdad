"""``python -m llmprep`` is the ``llmprep`` command; both begin here, by taking the current folder off ``sys.path``.

Texts lie in the current folder, a file ``types.py`` may be one, and none of it is ever run. So this module, and the
package's own, import nothing that no Python has imported before: not even ``__future__``.
"""

import os
import sys


def main() -> None:
    """Run the command line and exit."""
    _leave_out_current_folder()
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # pyarrow's own keeps what it has freed
    from llmprep.cli.main import main

    main()


def _leave_out_current_folder() -> None:
    """Take off ``sys.path`` the current folder; ``python -m`` puts it there, and so does an empty item of PYTHONPATH.

    An empty item is an accident, of ``PYTHONPATH=$PYTHONPATH:/more``; where the folder is named it stays. The folder
    that llmprep comes from stays too, but comes last, as workers need it.
    """
    try:
        current = os.getcwd()  # noqa: PTH109 - pathlib would be searched for
    except FileNotFoundError:
        return
    if __name__ == "__main__" and not sys.flags.safe_path and sys.path[:1] == [current]:
        del sys.path[0]
    items = [] if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "").split(os.pathsep)
    named = [item for item in items if item]
    if named and named != items:
        os.environ["PYTHONPATH"] = os.pathsep.join(named)
        if current in sys.path and current not in map(os.path.abspath, named):
            sys.path.remove(current)
    home = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    if home not in sys.path:
        sys.path.append(home)


if __name__ == "__main__":
    main()
