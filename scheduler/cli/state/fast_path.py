"""A quick look for commands that only look: no SQLAlchemy, no config models, where nothing has changed since.

The config file is not read but for where its state lies: if the files it is made of are as they were when somebody
last brought the stored jobs in line with them, the state file holds all that there is to tell. Whenever that is not
so, :func:`quickly` returns None, and the command looks properly, as :mod:`scheduler.cli.state.session` does.
"""

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from exporter.host.regular_files import read_text
from exporter.safe_parsing.toml import loads
from scheduler.environment.paths import config_path
from scheduler.jobs.view import JobLine, with_slots
from scheduler.nodes.health import UNREADABLE, read_unreadable, still_unreadable
from scheduler.state.location import differs_from_daemon, is_same_config, locate, stated_file
from scheduler.state.seen_files import SYNCED, is_as_seen, matches
from storage.fast_read import Glance, NoGlance, glance
from storage.values import StoredJob, StoredRun

_Found = TypeVar("_Found")


def quickly(given: Path | None, look: Callable[[Glance], _Found]) -> _Found | None:
    """Return what ``look`` finds in the state file of the config that is meant; None where one has to look properly."""
    path = config_path(given, os.environ).absolute()
    try:
        with glance(_state_file(path)) as found:
            theirs = found.setting("config_path")
            if (theirs and not is_same_config(Path(theirs), path)) or not is_as_seen(path, found.setting(SYNCED)):
                return None
            return look(found)
    except (NoGlance, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def glanced(look: Callable[[Glance], _Found]) -> _Found | None:
    """Return what ``look`` finds in the state file, whether the config files have changed since or not; else None."""
    try:
        with glance(_state_file(config_path(None, os.environ).absolute())) as found:
            return look(found)
    except (NoGlance, OSError, ValueError):
        return None


def connection_names() -> list[str]:
    """Return the names of the connections of the config files, by name; a file that cannot be read has none.

    A shell prints them while somebody types, so what is no name, since it holds what cannot be printed, is left out.
    """
    path = config_path(None, os.environ).absolute()
    main = _tables(path)
    given = main.get("include")
    patterns = [each for each in given if isinstance(each, str)] if isinstance(given, list) else []
    try:
        fragments = [_tables(each) for each in matches(path.parent, patterns)]
    except ValueError:  # a NUL character
        fragments = []
    named = [each.get("connections") for each in (main, *fragments)]
    return sorted({name for tables in named if isinstance(tables, dict) for name in tables if name.isprintable()})


def _tables(path: Path) -> dict[str, Any]:
    try:
        return loads(read_text(path))
    except (OSError, ValueError):
        return {}


def known_storage_url(given: Path | None) -> str | None:
    """Return where the state of the config that is meant lies, if its files are as when its jobs were last stored.

    Those files then have no faults, and need not be read. None where one has to look properly.
    """
    path = config_path(given, os.environ).absolute()
    file = quickly(given, lambda _found: _state_file(path))
    return None if file is None else f"sqlite:///{file}"


def all_lines(found: Glance) -> list[JobLine]:
    """Return every job, by name."""
    return with_slots(_lines(found, found.jobs(), last=found.last_runs()))


def line(found: Glance, name: str) -> JobLine | None:
    """Return one job, without its last run; None if there is none, which is reported properly elsewhere."""
    lines = _lines(found, found.jobs(name))
    others = found.jobs() if lines and lines[0].after else []
    return next(iter(with_slots(lines, _lines(found, others))), None)


def _lines(found: Glance, jobs: list[StoredJob], last: Mapping[str, StoredRun] = MappingProxyType({})) -> list[JobLine]:
    """Return jobs, with what a daemon found wrong with them: checking a definition whole takes its models."""
    hosts = {socket.gethostname(), *(node.host for node in found.nodes())}
    unreadable = read_unreadable(found.settings_beginning_with(UNREADABLE), hosts)
    faults = still_unreadable(unreadable, jobs)
    return [JobLine(stored=job, last_run=last.get(job.name), fault=faults.get(job.name)) for job in jobs]


def _state_file(path: Path) -> Path:
    """Return the SQLite file of a config file, by a look at ``[storage]`` alone. Raises NoGlance where it is unsure.

    A wrong guess does no harm: the state file then has another config file's mark, or none.
    """
    file = stated_file(path)
    if file is None:
        location = locate(path, os.environ)
        file = location.file
        if location.problem or any(char in str(file) for char in "%?"):
            raise NoGlance
    if differs_from_daemon(path, f"sqlite:///{file}"):
        raise NoGlance
    return file
