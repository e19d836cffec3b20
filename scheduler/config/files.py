"""The files of a config, read from disk: the file itself, the fragments it includes, the queries that jobs name."""

import glob
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exporter.host.regular_files import is_inherited, open_regular, read_bounded, read_regular
from scheduler.config.document import Document, document
from scheduler.environment.paths import example_config
from scheduler.errors.setting_faults import ConfigError, Fault, show
from scheduler.jobs.definition import Unreadable
from scheduler.secrets.resolve import is_private
from scheduler.state.seen_files import SETTLED, Seen, matches

READS = 3
"""How often all is read again because something changed meanwhile; then it is taken as it is."""
PATIENCE = 10.0
LOOK_AGAIN = 0.1
"""Seconds between two looks at files that are being written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What was read: the config file first, then its fragments by path; or the faults that kept it from being read.

    ``seen`` says later whether any of it has changed since, also where there were faults.
    """

    path: Path
    documents: tuple[Document, ...]
    faults: tuple[Fault, ...]
    seen: Seen


def read(path: Path, *, as_if: str | None = None, pipes: bool = False) -> Reading:
    """Read a config file and all that belongs to it. Never raises: what cannot be read is a fault.

    With ``as_if`` that is taken for the text of the config file itself. With ``pipes`` the config file may be a shell's
    ``<(command)``, which can be read but once; what it names is then relative to the current directory.
    """
    if pipes and is_inherited(path):
        return _read(path, as_if, is_piped=True)
    for _ in range(READS - 1):
        reading = _read(path, as_if)
        if reading.seen.is_current():
            return reading
    return _read(path, as_if)


def wait_until_still(reading: Reading) -> Reading:
    """Return what the files hold once they have been left alone for SETTLED: half a file is no edit.

    Raises ConfigError where they go on changing for PATIENCE seconds.
    """
    limit = time.monotonic() + PATIENCE
    while not reading.seen.is_settled(datetime.now(UTC)):
        begun = time.monotonic()  # a clock that was set back, or is another machine's, must not keep us here
        while reading.seen.is_current():
            if time.monotonic() - begun >= SETTLED.total_seconds():
                return reading
            time.sleep(LOOK_AGAIN)
        if time.monotonic() > limit:
            words = f"it has been changing for {PATIENCE:.0f} s: try again when it is written"
            raise ConfigError([Fault(keys=(), file=str(reading.path), message=words)], name=str(reading.path))
        reading = read(reading.path)
    return reading


def _read(path: Path, as_if: str | None, *, is_piped: bool = False) -> Reading:
    base = Path.cwd() if is_piped else path.absolute().parent
    seen, faults = Seen(config=str(path.absolute())), list[Fault]()
    seen = seen.with_files([path.absolute()])
    main = _document(path, base, faults, hint=True, as_if=as_if, is_piped=is_piped)
    if main is None:
        return Reading(path=path, documents=(), faults=tuple(faults), seen=seen)
    patterns = _patterns(main.tables)
    seen = seen.with_patterns(base, tuple(patterns.values()))
    faults += main.locate(_missing(patterns, base, seen))
    documents = [main]
    for fragment in matches(base, patterns.values()):
        if fragment != path.absolute():
            seen = seen.with_files([fragment])
            found = _document(fragment, fragment.parent, faults)
            documents += [] if found is None else [found]
    queries = [directory / name for each in documents for name, directory in _query_files(each)]
    seen = seen.with_files(queries)
    return Reading(
        path=path,
        documents=tuple(replace(each, query_files=_texts(_query_files(each))) for each in documents),
        faults=tuple(faults),
        seen=seen,
    )


def _patterns(tables: Mapping[str, Any]) -> dict[int, str]:
    """Return what ``include`` of a config file names, by position; what is no pattern is a fault elsewhere."""
    given = tables.get("include")
    named = enumerate(given if isinstance(given, list) else ())
    return {at: each for at, each in named if isinstance(each, str) and each.endswith(".toml") and "\0" not in each}


def _missing(patterns: Mapping[int, str], base: Path, seen: Seen) -> Iterator[Fault]:
    """Yield a fault for each single file that is not there, and each directory of a pattern; that may match nothing."""
    for position, pattern in patterns.items():
        if pattern in seen.unlisted:
            yield Fault(keys=("include", position), message=f"{show(pattern)}: {seen.unlisted[pattern]}")
        if not glob.has_magic(pattern) and not pattern.startswith("~") and not os.path.lexists(base / pattern):
            message = f"{show(pattern)}: file not found; a pattern such as jobs.d/*.toml may match none"
            yield Fault(keys=("include", position), message=message)


def _document(
    path: Path,
    base: Path,
    faults: list[Fault],
    *,
    hint: bool = False,
    as_if: str | None = None,
    is_piped: bool = False,
) -> Document | None:
    name = str(path)
    try:
        with path.open("rb") if is_piped else open_regular(path) as file:
            private = is_private(os.fstat(file.fileno()))
            data = read_bounded(file, path) if as_if is None else as_if.encode()
    except OSError as error:
        words = f"cannot be read: {error.strerror}"
        if hint:
            if isinstance(error, FileNotFoundError):
                words += f": copy {example_config() or 'an example'} there, or name another file"
            words += " (--config, or $SCHEDCTL_CONFIG)"
            if is_inherited(path):
                words += "; only schedctl check reads a pipe: write the config to a file for all else"
        faults.append(Fault(keys=(), file=name, message=words))
        return None
    try:
        return document(data.decode("utf-8-sig"), name, base=base, is_private=private)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = "not valid TOML: this line is not UTF-8; save the file as UTF-8"
        faults.append(Fault(keys=(), file=name, line=line, message=message))
    except ConfigError as error:
        faults += error.faults
    return None


def _query_files(found: Document) -> Iterator[tuple[str, Path]]:
    """Yield the query files that the jobs of a document name, and the directory that the names are relative to."""
    jobs = found.tables.get("jobs")
    for table in jobs.values() if isinstance(jobs, Mapping) else ():
        file = table.get("query_file") if isinstance(table, Mapping) else None
        if isinstance(file, str) and "\0" not in file:
            yield file, found.base or Path()


def _texts(files: Iterable[tuple[str, Path]]) -> dict[str, str | Unreadable]:
    return {name: _text(base / name) for name, base in files}


def _text(file: Path) -> str | Unreadable:
    try:
        return read_regular(file).decode("utf-8-sig")
    except OSError as error:
        return Unreadable(reason=f"{file} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return Unreadable(reason=f"{file} is not UTF-8: save it as UTF-8")
