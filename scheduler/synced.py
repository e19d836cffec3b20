"""Which config files the stored jobs were last brought in line with: so a command can tell that nothing changed."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

SYNCED = "synced_config"
"""The key in ``setting``. Empty where the last to bring the jobs in line did not say."""
SETTLED = timedelta(seconds=2)
"""A file that changed within this time of being read may change again within the tick of its file system's clock."""

Stamp = tuple[int, int, int, int]


def seen(path: Path, others: Iterable[Path], now: datetime) -> str:
    """Describe the config file at ``path`` and the ``others`` it is made of, as they were before ``now``.

    Empty where that cannot be said: a file is missing, or changed just now and may have been read before or after.
    """
    stamps = {str(file): _stamp(file) for file in sorted({path, *others})}
    newest = (now - SETTLED).timestamp() * 1e9
    if any(stamp is None or max(stamp[0], stamp[1]) >= newest for stamp in stamps.values()):
        return ""
    return json.dumps({"config": str(path), "files": stamps})


def is_as_seen(path: Path, mark: str | None) -> bool:
    """Whether the config file at ``path``, and all that it is made of, are still what ``mark`` describes."""
    if not mark:
        return False
    known = json.loads(mark)
    if known["config"] != str(path):
        return False
    return all(_stamp(Path(file)) == tuple(stamp) for file, stamp in known["files"].items())


def _stamp(file: Path) -> Stamp | None:
    """Return what changes when a file is edited, replaced, or renamed to its place; None if there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
