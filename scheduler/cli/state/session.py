"""What most commands begin with: the config file read, the state database open, the file's jobs in it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from scheduler.cli.printing.output import warn
from scheduler.cli.state.fast_path import known_storage_url
from scheduler.cli.state.storage_url import storage_despite
from scheduler.config.build import Config, ConfigError, Reading, build, load, read
from scheduler.config.diff import Edits, edits_of
from scheduler.config.files import wait_until_still
from scheduler.config.merge import LostParents, NameConflicts, UnconfirmedEdit, merge
from scheduler.config.open_state import check_state, note_config, open_state, rebuilt, refuse_shared
from scheduler.environment.paths import config_path, default_storage_url
from scheduler.errors.operation_error import OperationError
from scheduler.nodes import presence
from scheduler.operations import jobs
from scheduler.operations.jobs import JobView
from scheduler.state.location import CONFIG_FILE, DAEMON_CONFIG, Location, is_same_config, marked_directory, other_owner
from storage import key_values
from storage.database import Database, StorageError, open_database
from storage.engine.address import parse_address
from storage.engine.sqlite_file import is_there


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """The config file and the open state database."""

    config: Config
    path: Path
    database: Database


def find_config(given: Path | None) -> Path:
    """Return the config file that is meant, as an absolute path."""
    return config_path(given, os.environ).absolute()


def read_config(given: Path | None, *, pipes: bool = False) -> Config:
    """Read the config file, with ``pipes`` also one that can be read but once; raises ConfigError."""
    return load(find_config(given), pipes=pipes)


@contextmanager
def opened(
    given: Path | None,
    now: datetime,
    *,
    sync: bool = True,
    is_whole: bool = False,
    giving_up: str | None = None,
    changing: str | None = None,
) -> Iterator[Bench]:
    """Open the workbench. With ``sync`` the config file's jobs are stored first, as the daemon does it.

    ``is_whole``: this process wrote the file, so that nobody is in the middle of it. Raises ConfigError, StorageError,
    OperationError where this is not the state of the config file and its daemon, and NameConflicts, but not over the
    job that is being removed: without it there would be no way out of the conflict. Nor LostParents over a job that is
    removed or changed.
    """
    path = find_config(given)
    reading = read(path)
    config = build(reading)
    database = open_state(config.storage.url, path, config.storage.location, tell=warn)
    try:
        refuse_shared(database, path)
        if sync:
            config = _sync(database, config, reading, now, is_whole=is_whole, giving_up=giving_up, changing=changing)
        yield Bench(config=config, path=path, database=database)
    finally:
        database.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The open state database; ``config`` is None where the config file has faults."""

    config: Config | None
    database: Database


@contextmanager
def opened_to_look(given: Path | None, now: datetime, *, sync: bool = False, is_change: bool = False) -> Iterator[Look]:
    """Open the state for a command that looks or stops something, which a fault in the config file must not keep off.

    With faults that is said, and the jobs are as they were last stored. A look makes no state where there is none yet.
    Raises ConfigError where it cannot be told where the state is, and StorageError; and for a change OperationError on
    the state of another config file.
    """
    reading = read(find_config(given))
    config: Config | None = None
    faults: ConfigError | NameConflicts
    try:
        config = build(reading)
        url, location = config.storage.url, config.storage.location
    except ConfigError as error:
        faults = error
        url, location = storage_despite(reading.path, error)
    with _opened(url, reading.path, location, is_look=not is_change) as database:
        if is_change:
            refuse_shared(database, reading.path)
            if location is not None and location.found == "new":
                warn(
                    f"{reading.path} had no state yet, and this command began one in {location.directory}. "
                    "If a service of this file keeps its state elsewhere, it knows nothing of this: "
                    "start it and run this again, or name its state as url under [storage]"
                )
        if config is None:
            _warn_of(faults)
        elif sync:
            try:
                config = _sync(database, config, reading, now)
            except (NameConflicts, ConfigError) as conflicts:
                _warn_of(conflicts)
        yield Look(config=config, database=database)


@contextmanager
def _opened(url: str, path: Path, location: Location | None, *, is_look: bool) -> Iterator[Database]:
    """Open the state; a look at one that is still to be made gets an empty one, which is gone afterwards.

    A look must not begin a state: a service of the config file may have another one, elsewhere.
    """
    with ExitStack() as stack:
        if is_look and location is not None and location.found == "new" and not location.unstarted:
            check_state(url, path, location)
            directory = stack.enter_context(TemporaryDirectory(prefix="schedctl-look-"))
            database = open_database(default_storage_url(Path(directory)))
        else:
            database = open_state(url, path, location, tell=warn)
        stack.callback(database.close)
        yield database


@contextmanager
def opened_for_status(given: Path | None) -> Iterator[tuple[Database, ConfigError | None]]:
    """Open the state database even if the config file has faults, and give them along.

    Raises ConfigError if the file does not even tell where the state is, and StorageError.
    """
    path, faults, location = find_config(given), None, None
    url = known_storage_url(given)  # thousands of jobs take seconds to read
    try:
        if url is None:
            storage = load(path).storage
            url, location = storage.url, storage.location
    except ConfigError as error:
        faults = error
        url, location = storage_despite(path, error)
    with _opened(url, path, location, is_look=True) as database:
        if database.path is not None and (other := other_owner(database.path, path)):
            warn(f"this state database belongs to {other}, not to {path}")
        yield database, faults


def storage_url(given: Path | None) -> str:
    """Return the address of the state database, even if the config file has faults elsewhere.

    Raises ConfigError, and OperationError where there is none that belongs to the config file.
    """
    path = find_config(given)
    try:
        storage = load(path).storage
        url, location = storage.url, storage.location
    except ConfigError as error:
        url, location = storage_despite(path, error)
    check_state(url, path, location)
    return url


def planned_edits(path: Path, config: Config, now: datetime) -> tuple[Edits, UnconfirmedEdit | None]:
    """Return what the config file would change of the stored jobs, and whether that has to be confirmed; store nothing.

    Where there is no state yet, every job is new. Raises ConfigError, NameConflicts and StorageError.
    """
    location = config.storage.location
    draft_of = None
    if location is not None and location.found == "new":  # a draft of another file is compared with what that one has
        draft_of = location.neighbor or marked_directory(find_config(None))
    url = config.storage.url if draft_of is None else default_storage_url(draft_of)
    with opened_if_there(path, url, location if draft_of is None else None) as database:
        if database is None:
            return edits_of(merge(config.jobs, ()), (), now), None
        with database.read() as session:
            theirs = key_values.get(session, CONFIG_FILE) or key_values.get(session, DAEMON_CONFIG)
        if theirs and not is_same_config(Path(theirs), path):
            warn(f"this state database belongs to {theirs}, not to {path}")
        return jobs.planned_edits(database, config, now)


def refuse_unconfirmed(path: Path, config: Config, now: datetime) -> None:
    """Raise UnconfirmedEdit if the config file looks cut short: a table at its end would hide what is missing.

    What else keeps the file from being compared with the stored jobs does not matter here.
    """
    try:
        unconfirmed = planned_edits(path, config, now)[1]
    except (StorageError, OperationError, NameConflicts, LostParents):
        return
    if unconfirmed is not None:
        raise unconfirmed


@contextmanager
def opened_if_there(path: Path, url: str, location: Location | None) -> Iterator[Database | None]:
    """Open the state database of a config file as it is; None where nobody has stored anything yet.

    ``location`` says how it was found; None where the file names it. Raises StorageError, and OperationError where this
    is not the state of the config file and its daemon.
    """
    check_state(url, path, location)
    if _has_no_state(url):
        yield None
        return
    database = open_database(url, migrate=False)
    try:
        yield database
    finally:
        database.close()


def check_stored(path: Path, config: Config, now: datetime) -> str | None:
    """Raise NameConflicts if the stored jobs keep a daemon from taking over a valid config file.

    Nothing is stored. Returns why the daemon would wait for a person, or why that is not known, where the state
    database cannot be read; None otherwise.
    """
    try:
        with opened_if_there(path, config.storage.url, config.storage.location) as database:
            unconfirmed = None if database is None else jobs.planned_edits(database, config, now)[1]
    except (StorageError, OperationError) as error:
        return f"it is unknown whether a name is used by a job of schedctl add: {error.message}"
    except LostParents as lost:
        return str(lost)
    return None if unconfirmed is None else str(unconfirmed)


def check_if_stored(given: Path | None, now: datetime) -> str | None:
    """Return why a daemon that starts now would wait for a person; None if it would not, or has no state yet."""
    path = find_config(given)
    try:
        return check_stored(path, load(path), now)
    except (ConfigError, NameConflicts) as error:
        return str(error).split("\n", maxsplit=1)[0]


def unreadable_stored(path: Path, config: Config) -> list[str]:
    """Say of each stored job that cannot be read, and that the config file does not replace, that it does not fire.

    Empty where the state database cannot be read: :func:`check_stored` tells of that.
    """
    try:
        with opened_if_there(path, config.storage.url, config.storage.location) as database:
            views = [] if database is None else jobs.view_jobs(database)
    except (StorageError, OperationError):
        return []
    faults = {view.stored.name: view.fault for view in views if view.fault and view.stored.name not in config.jobs}
    return [f"the stored job {name} cannot be read, so it does not fire: {fault}" for name, fault in faults.items()]


def _has_no_state(url: str) -> bool:
    """Whether nobody has stored anything yet, in a file that is still to be made. Raises StorageError."""
    address = parse_address(url)
    return address.path is not None and not is_there(address.path, address.name)


def view_job(given: Path | None, name: str, now: datetime) -> JobView:
    """Return one job."""
    with opened_to_look(given, now, sync=True) as look:
        return jobs.view_job(look.database, name)


def _warn_of(faults: ConfigError | NameConflicts) -> None:
    first, *others = str(faults).split("\n")
    more = f" (and {len(others)} more: schedctl check)" if others else ""
    warn(f"{first}{more}; until that is fixed, jobs are as they were last stored")


def _sync(
    database: Database,
    config: Config,
    reading: Reading,
    now: datetime,
    *,
    is_whole: bool = False,
    giving_up: str | None = None,
    changing: str | None = None,
) -> Config:
    """Store the file's jobs, unless the state is that of another file: its jobs would be lost to it.

    A file that may be half written is waited for. Returns the config, which is then another.
    """
    with database.read() as session:
        theirs = key_values.get(session, DAEMON_CONFIG)
    daemon = presence.live_daemon(database, now)
    if theirs and not is_same_config(Path(theirs), reading.path) and daemon is not None:
        warn(f"the daemon of this state database reads {theirs}, so the jobs in {reading.path} are left out")
        return config
    if database.path is not None and (other := other_owner(database.path, reading.path)):
        warn(f"this state database belongs to {other}, so the jobs in {reading.path} are left out")
        return config
    note_config(database, reading.path)
    try:
        if not is_whole and not reading.seen.is_settled(now):
            changes = jobs.planned_changes(database, config)
            # What is new harms nobody if it is half written, as long as no daemon fires it.
            if changes.remove or changes.replaced or (changes.put and daemon is not None):
                reading = wait_until_still(reading)
                config = rebuilt(reading, config)
        jobs.sync_file_jobs(database, config, now, seen=reading.seen.mark(now))
    except NameConflicts as conflicts:
        if giving_up not in conflicts.names:
            raise
    except LostParents as lost:
        if not lost.followers & {giving_up, changing}:
            raise
    return config
