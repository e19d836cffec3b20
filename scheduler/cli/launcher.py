"""The start of the console script; installed as ``_schedctl`` too, a name that no other module has.

``scheduler``, ``exporter`` and ``storage`` are names that others use as well. A module of such a name that comes first
on the path hides ours, and all that Python says then is a traceback.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

OURS = {"scheduler": "cli/main.py", "exporter": "spool/spool.py", "storage": "engine/dialect_sql.py"}
"""A file of each of our packages, by which it is known."""


def main() -> None:
    """Run the command line of this process."""
    if (problem := shadowed()) is not None:
        sys.stderr.write(f"schedctl: {problem}\n")
        raise SystemExit(1)
    from scheduler.cli.main import main as run  # noqa: PLC0415 - what is checked above may hide it

    run()


def shadowed() -> str | None:
    """Say which module hides one of our packages; None if none does."""
    for name, file in OURS.items():
        spec = find_spec(name)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if any(Path(place, file).is_file() for place in places):
            continue
        if spec is None:
            return f"the package {name} is missing: install schedctl again (pip install --force-reinstall schedctl)"
        return (
            f"the module {name} in {spec.origin or ', '.join(places)} hides schedctl's package of that name: remove "
            "it, or its directory from PYTHONPATH, or install schedctl in a virtual environment of its own"
        )
    return None
