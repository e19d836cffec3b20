"""Opening the state of a config file, by commands and daemons alike: only the one that its daemon uses."""

from collections.abc import Callable
from pathlib import Path

from scheduler.config.build import Config, Reading, build
from scheduler.errors.operation_error import ErrorKind, OperationError, failed
from scheduler.state.location import (
    CONFIG_FILE,
    SYSTEM_STATE,
    Location,
    differs_from_daemon,
    other_owner,
    remember,
    remember_url,
    unreadable,
)
from storage import key_values
from storage.database import Database, open_database
from storage.engine.address import parse_address


def check_state(url: str, config: Path, location: Location | None) -> None:
    """Raise an OperationError, with the way out, where the state at ``url`` is not the one of a config file.

    That is: it is gone, this user may not use it, or the daemon of the config file has another one. ``location`` says
    how it was found; None where the config file names it. Raises StorageError for an address that cannot be used.
    """
    if location is not None and location.problem:
        raise OperationError(ErrorKind.STORAGE, location.problem)
    address = parse_address(url)
    for problem in (
        unreadable(config, address.path) if address.path is not None else "",
        differs_from_daemon(config, address.name),
    ):
        if problem:
            raise OperationError(ErrorKind.STORAGE, problem)


def open_state(
    url: str, config: Path, location: Location | None, *, tell: Callable[[str], None], is_daemon: bool = False
) -> Database:
    """Open the state of a config file and bring its schema up to date. A new one is made where there is none.

    ``tell`` is called with one line where other users would not find a new state again. Raises OperationError as
    :func:`check_state` does, and StorageError.
    """
    check_state(url, config, location)
    if location is not None and location.unstarted and not is_daemon:
        raise OperationError(ErrorKind.STORAGE, location.unstarted)
    database = open_database(url)
    if location is None:
        remember_url(config, database.name)
    if location is None or database.path is None:
        return database
    try:
        reason = remember(config, location.directory, instead_of=location.displaced)
    except FileExistsError as error:
        database.close()
        raise OperationError(
            ErrorKind.STORAGE,
            f"another process has just put the state of {config} in {error.args[0]}: run this again",
        ) from error
    if reason and (location.found == "new" or location.displaced) and location.directory != SYSTEM_STATE:
        tell(
            f"the state of {config} is now in {location.directory}, and {reason}. Other users and services may not "
            f'find it: write url = "sqlite:///{location.file}" under [storage]'
        )
    return database


def refuse_shared(database: Database, config: Path) -> None:
    """Raise an OperationError if a state is the one of another config file, whose jobs would be removed from it."""
    theirs = other_owner(database.path, config) if database.path is not None else None
    if theirs is not None:
        raise OperationError(
            ErrorKind.STORAGE,
            f"{database.name} is the state of {theirs}, and two config files cannot share one: write another url under "
            f"[storage] in {config}, or in {theirs}; or remove the one that is not used any more",
        )


def note_config(database: Database, config: Path) -> None:
    """Keep in a SQLite state which config file it belongs to, so that no other one takes it."""
    if database.path is None:
        return  # several hosts share that one, each with a file of its own
    with database.read() as session:
        known = key_values.get(session, CONFIG_FILE)
    if known != str(config):
        with database.write() as session:
            key_values.put(session, CONFIG_FILE, str(config))


def rebuilt(reading: Reading, before: Config) -> Config:
    """Return the config of a file that was still being written when ``before`` was read, and its state opened.

    Raises ConfigError, and an OperationError if the whole file names another state.
    """
    config = build(reading)
    if config.storage.url != before.storage.url:
        raise failed(f"url under [storage] in {reading.path} was changed in this moment: run this again")
    return config
