"""A connection made ready for use: its secrets looked up, its name and the place of its token filled in."""

import os
from collections.abc import Mapping
from pathlib import Path

from exporter.settings.connection import Connection, SalesforceConnection
from scheduler.config.build import Config
from scheduler.environment.paths import sqlite_file
from scheduler.secrets.resolve import resolve
from scheduler.state.location import local_directory


def make_ready(config: Config, name: str, *, environ: Mapping[str, str] | None = None) -> Connection:
    """Return the connection ``name`` of ``config`` as a source or target takes it.

    Raises KeyError if there is none, and SecretError if a secret is unavailable.
    """
    environ = os.environ if environ is None else environ
    connection = resolve(config.connections[name], environ=environ)
    if not isinstance(connection, SalesforceConnection):
        return connection
    if connection.auth == "oauth":
        connection = connection.model_copy(update={"token_file": str(token_path(config, name, environ))})
    return connection.named(name)


def token_path(config: Config, name: str, environ: Mapping[str, str]) -> Path:
    """Return the absolute path of a connection's refresh token: ``token_file``, else ``tokens`` beside the state.

    Beside the SQLite file, as the spool is, so that a person's shell and the daemon find the same one.
    """
    given = getattr(config.connections[name], "token_file", None)
    return Path(given).absolute() if given is not None else beside_state(config, environ) / "tokens" / f"{name}.json"


def beside_state(config: Config, environ: Mapping[str, str]) -> Path:
    """Return the absolute path of the directory of the SQLite file, or else the state directory."""
    file = sqlite_file(config.storage.url)
    return (file.parent if file is not None else local_directory(Path(config.name), environ)).absolute()
