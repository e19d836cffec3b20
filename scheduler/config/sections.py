"""The tables of the config file that are neither jobs nor connections, and the file as a whole. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from exporter.settings.base import Duration, PathText, Settings, Size, Text, is_loopback, key_fault
from exporter.settings.connection import Connection
from scheduler.environment.paths import sqlite_file
from scheduler.errors.setting_faults import Fault, Keys
from scheduler.jobs.definition import Job
from scheduler.notifications.settings import NotifySettings

if TYPE_CHECKING:
    from scheduler.state.location import Location


def _check_pattern(value: str) -> str:
    if not value.endswith(".toml"):
        raise ValueError("end the name or the pattern in .toml, such as jobs.d/*.toml")
    return value


class IncludeTable(Settings):
    """What stands before the first table of the file."""

    include: tuple[Annotated[PathText, AfterValidator(_check_pattern)], ...] = Field(
        default=(), strict=False, description="more files with connections and jobs: names, or patterns with `*`"
    )


class DaemonSettings(Settings):
    """How this node runs."""

    timezone: str = Field(default="UTC", description="IANA zone of every job that names none")
    max_running: int = Field(default=4, ge=1, le=1000, description="runs at once on this node, at most")
    drain_timeout: Duration = Field(default=300, description="how long a stop waits for runs to end")


_SERVER = re.compile(
    r"postgresql\+psycopg://(?:[^:/]*(?::[^@]*)?@)?(?:\[[^\]/?]+\]|[^\[/:?]*)(?::([^/?]*))?(?:[/?].*)?"
)
"""A server's address as SQLAlchemy takes it apart; a password may hold any sign but @. The group is the port."""
_PORT = re.compile(r"[0-9]{1,5}")
_MAX_PORT = 65_535


def _check_url(value: str) -> str:
    file = sqlite_file(value)
    if file is None:
        server = _SERVER.fullmatch(value)
        if server is None:
            raise ValueError('write "sqlite:///state.db" or "postgresql+psycopg://user@host/database"')
        if server[1] is not None and not (_PORT.fullmatch(server[1]) and 0 < int(server[1]) <= _MAX_PORT):
            raise ValueError(
                f"a port is a number from 1 to {_MAX_PORT}, as in postgresql+psycopg://user@host:5432/database"
            )
        return value
    if "?" in value:
        raise ValueError("a SQLite address takes no options: leave out what begins with ?")
    if file.name in {"", ":memory:"}:
        raise ValueError('state must survive a restart: name a file, such as "sqlite:///state.db"')
    return value


class StorageTable(Settings):
    """Where state is kept."""

    url: Annotated[Text, AfterValidator(_check_url)] | None = Field(
        default=None,
        description="`sqlite:///FILE` or `postgresql+psycopg://…`; default: `state.db` in the state directory",
        examples=['"sqlite:///state.db"'],
    )
    spool: PathText | None = Field(
        default=None,
        description="directory for rows on their way; default: `spool` beside the state file",
        examples=['"spool"'],
    )
    snapshots: PathText | None = Field(
        default=None,
        description="directory for what targets are known to hold of jobs with `changes`; default: `snapshots` beside "
        "the spool",
        examples=['"snapshots"'],
    )
    history: Duration = Field(
        default=90 * 86_400, description="how long ended runs, their rejected rows and sent notices are kept"
    )
    min_free: Size = Field(
        default=200 * 10**6,
        description="no run is started while the disk of the spool or the state has less free; 0: never mind",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """Where state is kept: a database URL (it may hold a password, so it is not printed) and absolute paths; bytes.

    ``location`` says how the place was found where the file has no ``url``; None where it has one.
    """

    url: str = field(repr=False)
    spool: Path
    snapshots: Path
    history: int
    min_free: int
    location: "Location | None" = None


_LISTEN = re.compile(r"(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})")


def _check_listen(value: str) -> str:
    found = _LISTEN.fullmatch(value)
    if found is None or int(found[3]) > _MAX_PORT:
        raise ValueError('write an address and a port, such as "127.0.0.1:9464" or "[::1]:9464"')
    return value


class MetricsSettings(Settings):
    """Where the metrics can be had; by default nowhere."""

    listen: Annotated[str, AfterValidator(_check_listen)] | None = Field(
        default=None, description="serve them over HTTP on this loopback address", examples=['"127.0.0.1:9464"']
    )
    allow_remote: bool = Field(
        default=False,
        description="allow `listen` on an address that others can reach: names of jobs are no secret then",
    )
    hosts: tuple[Text, ...] = Field(
        default=(),
        strict=False,
        description="names that a scraper calls this machine by, besides `localhost`, its host name and addresses",
        examples=['["scheduler.example.com"]'],
    )
    textfile: PathText | None = Field(
        default=None,
        description="write them to this file every 15 s, for the textfile collector of node_exporter",
        examples=['"/var/lib/prometheus/node-exporter/schedctl.prom"'],
    )

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port of ``listen``."""
        host, _, port = (self.listen or "").rpartition(":")
        return host.strip("[]"), int(port)

    @model_validator(mode="after")
    def _check_remote(self) -> Self:
        if self.listen is not None and not self.allow_remote and not is_loopback(self.address[0]):
            key_fault("listen", "others can reach this address; use 127.0.0.1, or set allow_remote = true beside it")
        return self


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole config file. Paths are absolute if it was read from a file; durations are seconds.

    ``defaults`` are the values that jobs take for keys they leave out (``[defaults]`` and the daemon's zone): pass them
    to :func:`scheduler.jobs.definition.parse_job` for a job from elsewhere. ``origins`` are the files that the
    connections and jobs are in, by ``("jobs", NAME)`` and ``("connections", NAME)``; ``texts`` are what is in them,
    secrets too.
    ``warnings`` stop nothing.
    """

    name: str = "config.toml"
    daemon: DaemonSettings = field(default_factory=DaemonSettings)
    storage: Storage
    notify: NotifySettings = field(default_factory=NotifySettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    defaults: Mapping[str, object] = field(default_factory=dict)
    connections: Mapping[str, Connection] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    origins: Mapping[Keys, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    warnings: tuple[Fault, ...] = ()

    @property
    def connection_types(self) -> Mapping[str, str | None]:
        """Return the type of each connection by name, as :func:`scheduler.jobs.definition.parse_job` takes them."""
        return {name: connection.type for name, connection in self.connections.items()}
