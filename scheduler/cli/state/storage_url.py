"""Where the state lies of a config file with faults: told from its ``[storage]`` table alone."""

import json
import os
import re
from pathlib import Path

from exporter.host.regular_files import read_text
from exporter.safe_parsing.toml import loads
from scheduler.config.build import ConfigError, parse
from scheduler.environment.paths import sqlite_file
from scheduler.errors.operation_error import ErrorKind, OperationError
from scheduler.state.location import DAEMON_CONFIG, Location, is_same_config, locate, storage_section
from storage.fast_read import NoGlance, glance

_URL = re.compile(r"^[ \t]*url[ \t]*=.*$", re.MULTILINE)


def storage_despite(path: Path, faults: ConfigError) -> tuple[str, Location | None]:
    """Return the address of the state database of a config file with faults, and how it was found.

    Raises the faults where there is no state yet; and as an OperationError, with that, where the file does not tell.
    """
    try:
        given, is_told = _given(path, faults)
        table = "" if given is None else f"[storage]\nurl = {json.dumps(given)}\n"
        location = locate(path, os.environ) if given is None else None
        url = parse(table, base=path.parent, state=location.directory if location else None).storage.url
    except (ValueError, TypeError, AttributeError, NoGlance, ConfigError):
        raise _untold(path, faults) from faults
    file = sqlite_file(url)
    if not is_told and not _was_read_from(file, path):
        raise (_untold(path, faults) if os.path.lexists(path) else faults) from faults
    if file is not None and _is_missing(file):
        raise faults
    return url, location


def _given(path: Path, faults: ConfigError) -> tuple[str | None, bool]:
    """Return ``url`` of the file, None for the default place; and whether the file is whole enough to say so."""
    try:
        text = read_text(path)
    except OSError:
        return None, False
    try:
        storage = loads(text).get("storage", {})
    except ValueError:
        section = storage_section(text)
        return (None, False) if section is None else (_url_in(section), True)
    if "url" not in storage and any(fault.keys[:1] == ("storage",) for fault in faults.faults):
        raise NoGlance  # it may be misspelt
    return storage.get("url"), True


def _url_in(section: str) -> str | None:
    """Return ``url`` of a table that may be no TOML as a whole; None if it has none. Raises ValueError."""
    try:
        return loads(section).get("url")
    except ValueError:
        lines = _URL.findall(section)
        if len(lines) != 1:
            raise
        return str(loads(lines[0])["url"])


def _was_read_from(file: Path | None, path: Path) -> bool:
    """Whether the last daemon on a state file read the config file at ``path``."""
    try:
        with glance(file or Path()) as found:
            theirs = found.setting(DAEMON_CONFIG)
            return theirs is not None and is_same_config(Path(theirs), path)
    except NoGlance:
        return False


def _is_missing(file: Path) -> bool:
    try:
        file.stat()
    except FileNotFoundError:
        return True
    except OSError:  # who opens it tells that better
        return False
    return False


def _untold(path: Path, faults: ConfigError) -> OperationError:
    told = str(faults).split("\n")
    told.append(f"{path}: this file does not say where the state is, so no state is shown")
    return OperationError(ErrorKind.CONFIG, told[0], faults=told)
