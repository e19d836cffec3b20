"""The config file: text in, a Config or every fault out. Pure, but for :func:`load`, which reads the files."""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr, ValidationError

from exporter.connections import (
    CONNECTION_MODELS,
    Connection,
    DuckdbConnection,
    SalesforceExport,
)
from exporter.salesforce_settings import DEPRECATED_LOGINS, OLDEST_SAFE_API_VERSION, SalesforceConnection
from exporter.settings import SecretReference, Settings
from scheduler.config_tables import Config, DaemonSettings, MetricsSettings, NotifySettings, Storage, StorageTable
from scheduler.faults import ConfigError, Fault, Keys, model_faults, show, under, unknown_key, unknown_value
from scheduler.job import Job, JobDefaults, QueryFiles, Unreadable, name_fault, parse_job, schedule_faults
from scheduler.paths import default_spool, default_storage_url, sqlite_file, state_directory
from scheduler.secrets import is_private, register
from scheduler.toml_lines import key_lines, line_of

__all__ = ["Config", "ConfigError", "Fault", "load", "parse"]

_TOP_KEYS = ("daemon", "storage", "defaults", "notify", "metrics", "connections", "jobs")
_Model = TypeVar("_Model", bound=Settings)


def parse(
    text: str,
    *,
    name: str = "config.toml",
    base: Path | None = None,
    state: Path | None = None,
    query_files: QueryFiles | None = None,
) -> Config:
    """Make a Config of the text of a config file.

    ``name`` is what faults call the file. Relative paths become relative to ``base`` (as they are without one); state
    lies in ``state`` where ``[storage]`` does not say. ``query_files`` are the texts of the files that jobs name.
    Raises ConfigError with every fault.
    """
    return _build(text, _read_toml(text, name), name=name, base=base, state=state, query_files=query_files or {})


def load(path: Path, *, environ: Mapping[str, str] | None = None) -> Config:
    """Read a config file and the query files that it names.

    Raises ConfigError, also when the file cannot be read. Plain-text secrets are from then on masked in the logs; if
    others can read the file, they bring a warning.
    """
    environ = os.environ if environ is None else environ
    name, base = str(path), path.absolute().parent
    text, private = _read_file(path)
    tables = _read_toml(text, name)
    files = dict(_read_query_files(tables, base))
    config = _build(text, tables, name=name, base=base, state=state_directory(environ), query_files=files)
    plain = dict(_plain_secrets(config))
    register(plain.values())
    register(map(unquote, plain.values()))  # as it is after the URL that it stands in was taken apart
    if not plain or private:
        return config
    fix = f"others can read this file: chmod 600 {path}, or write a reference such as {{ env = … }}"
    warnings = [Fault(keys=keys, message=f"a secret stands here in plain text, and {fix}") for keys in plain]
    return replace(config, warnings=(*config.warnings, *_with_lines(warnings, text)))


def _read_toml(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError([Fault(keys=(), message="not valid TOML: nested too deeply")], name=name) from error
    except ValueError as error:  # TOMLDecodeError, or a number with thousands of digits
        message = str(error)
        place = re.fullmatch(r"(?s)(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message)
        if place is None:
            raise ConfigError([Fault(keys=(), message="not valid TOML: a number is too long")], name=name) from error
        line = int(place[2]) if place[2] else text.count("\n") + (not text.endswith("\n"))
        column = f" (column {place[3]})" if place[3] else " (at the end of the file)"
        fault = Fault(keys=(), line=line, message=f"not valid TOML: {place[1]}{column}{_toml_hint(place[1])}")
        raise ConfigError([fault], name=name) from error


def _toml_hint(message: str) -> str:
    return {
        "Invalid value": ": text stands in quotes, true and false are written small",
        "Cannot overwrite a value": ": the key is there twice",
        "Unescaped '\\' in a string": ": write \\\\, or use single quotes",
    }.get(message, "")


def _build(
    text: str, tables: dict[str, Any], *, name: str, base: Path | None, state: Path | None, query_files: QueryFiles
) -> Config:
    faults = [Fault(keys=(key,), message=unknown_key(key, _TOP_KEYS)) for key in tables if key not in _TOP_KEYS]
    daemon = _table(tables, "daemon", DaemonSettings, faults)
    if wrong := schedule_faults({"timezone": daemon.timezone}):
        faults += under(("daemon",), wrong)
        daemon = daemon.model_copy(update={"timezone": "UTC"})
    storage = _table(tables, "storage", StorageTable, faults)
    notify = _table(tables, "notify", NotifySettings, faults)
    metrics = _table(tables, "metrics", MetricsSettings, faults)
    defaults = {"timezone": daemon.timezone, **_defaults(tables, faults)}
    connections, types = _connections(tables, base, faults)
    jobs: dict[str, Job] = {}
    for job_name, table in _named_tables(tables, "jobs", faults):
        try:
            jobs[job_name] = parse_job(job_name, table, connections=types, defaults=defaults, query_files=query_files)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(_with_lines(faults, text), name=name)
    return Config(
        name=name,
        daemon=daemon,
        storage=_storage(storage, base or Path(), state or Path()),
        notify=_resolve_paths(notify, base),
        metrics=_resolve_paths(metrics, base),
        defaults=defaults,
        connections=connections,
        jobs=jobs,
        warnings=_with_lines(_warnings(connections, jobs), text),
    )


def _with_lines(faults: Iterable[Fault], text: str) -> tuple[Fault, ...]:
    found = tuple(faults)
    lines = key_lines(text) if found else {}
    return tuple(replace(fault, line=line_of(lines, fault.keys)) for fault in found)


def _table(tables: Mapping[str, Any], key: str, model: type[_Model], faults: list[Fault]) -> _Model:
    """Check a table; with faults in it, return what stands for it while the rest of the file is checked."""
    table = tables.get(key, {})
    if not isinstance(table, Mapping):
        faults.append(Fault(keys=(key,), message=f"{key} = {show(table)}: write a table, [{key}]"))
        return model()
    try:
        return model.model_validate(table)
    except ValidationError as error:
        found = model_faults(error, model=model, table=table)
        faults += under((key,), found)
        return model.model_validate(_without(table, found))


def _without(table: Mapping[str, Any], faults: Iterable[Fault]) -> dict[str, Any]:
    faulty = {fault.keys[0] for fault in faults}
    return {key: value for key, value in table.items() if key not in faulty}


def _defaults(tables: Mapping[str, Any], faults: list[Fault]) -> dict[str, Any]:
    """Return the keys that ``[defaults]`` sets; a faulty one is a fault here, and none in every job."""
    values = _table(tables, "defaults", JobDefaults, faults).model_dump(exclude_unset=True)
    found = schedule_faults(values)
    faults += under(("defaults",), found)
    return _without(values, found)


def _named_tables(tables: Mapping[str, Any], key: str, faults: list[Fault]) -> Iterator[tuple[str, Any]]:
    named = tables.get(key, {})
    if isinstance(named, Mapping):
        yield from named.items()
    else:
        faults.append(Fault(keys=(key,), message=f"{key} = {show(named)}: write one table each, [{key}.NAME]"))


def _connections(
    tables: Mapping[str, Any], base: Path | None, faults: list[Fault]
) -> tuple[dict[str, Connection], dict[str, str | None]]:
    """Return the sound connections, and the type of every one (None where even that is faulty)."""
    connections: dict[str, Connection] = {}
    types: dict[str, str | None] = {}
    for name, table in _named_tables(tables, "connections", faults):
        place: Keys = ("connections", name)
        if wrong := name_fault("connection", name):
            faults.append(Fault(keys=place, message=wrong))
        kind = table.get("type") if isinstance(table, Mapping) else None
        types[name] = kind if isinstance(kind, str) and kind in CONNECTION_MODELS else None
        if not isinstance(table, Mapping):
            faults.append(Fault(keys=place, message=f"write a table: [connections.{name}] and its keys below"))
        elif kind is None:
            example = 'write type = "duckdb", "file" or "salesforce"'
            faults.append(Fault(keys=(*place, "type"), message=f"type is missing: {example}"))
        elif types[name] is None:
            faults.append(Fault(keys=(*place, "type"), message=unknown_value("type", kind, CONNECTION_MODELS)))
        else:
            model = CONNECTION_MODELS[kind]
            try:
                connections[name] = _resolve_paths(model.model_validate(table), base)
            except ValidationError as error:
                faults += under(place, model_faults(error, model=model, table=table))
    return connections, types


_PATH_KEYS = ("path", "directory", "ca_file", "token_file", "textfile")
"""Keys of connections that hold a path."""


def _resolve_paths(settings: _Model, base: Path | None) -> _Model:
    """Make the paths in ``settings`` relative to ``base``, those of secret files included."""
    changes: dict[str, object] = {}
    if isinstance(settings, DuckdbConnection) and settings.path == ":memory:":
        changes["path"] = None
    elif base is not None:
        paths = {key: getattr(settings, key, None) for key in _PATH_KEYS}
        changes |= {key: str(base / path) for key, path in paths.items() if path is not None}
    for key in type(settings).model_fields if base is not None else ():
        value = getattr(settings, key)
        if isinstance(value, SecretReference):
            changes[key] = _resolve_reference(value, base)
        elif isinstance(value, tuple):
            changes[key] = tuple(_resolve_reference(each, base) for each in value)
    return settings.model_copy(update=changes)


def _resolve_reference(value: object, base: Path | None) -> object:
    if not isinstance(value, SecretReference) or value.file is None or base is None:
        return value
    return value.model_copy(update={"file": str(base / value.file)})


def _storage(table: StorageTable, base: Path, state: Path) -> Storage:
    url = table.url or default_storage_url(state)
    file = sqlite_file(url)
    if file is not None:
        url = f"sqlite:///{base / file}{''.join(url.partition('?')[1:])}"
    spool = base / table.spool if table.spool is not None else default_spool(url, state)
    return Storage(url=url, spool=spool, history=table.history, min_free=table.min_free)


def _warnings(connections: Mapping[str, Connection], jobs: Mapping[str, Job]) -> Iterator[Fault]:
    for name, connection in connections.items():
        if isinstance(connection, SalesforceConnection) and connection.auth in DEPRECATED_LOGINS:
            message = f'auth = "{connection.auth}" is deprecated: {DEPRECATED_LOGINS[connection.auth]}'
            yield Fault(keys=("connections", name, "auth"), message=message)
    for job in jobs.values():
        options = job.export.options
        if isinstance(options, SalesforceExport) and float(options.api_version) < OLDEST_SAFE_API_VERSION:
            yield Fault(
                keys=("jobs", job.name, "export", "api_version"),
                message=f'api_version = "{options.api_version}": Salesforce switches off 31.0 to 40.0 in Summer \'28; '
                'use "62.0"',
            )


def _plain_secrets(config: Config) -> Iterator[tuple[Keys, str]]:
    """Yield where a secret stands in plain text, and the secret."""
    for name, connection in config.connections.items():
        for key in type(connection).model_fields:
            if isinstance(value := getattr(connection, key), SecretStr):
                yield ("connections", name, key), value.get_secret_value()
    for position, url in enumerate(config.notify.urls):
        if isinstance(url, SecretStr):
            yield ("notify", "urls", position), url.get_secret_value()
    if password := urlsplit(config.storage.url).password:
        yield ("storage", "url"), password


def _read_file(path: Path) -> tuple[str, bool]:
    """Return the file's text, and whether no other user can read it."""
    try:
        with path.open("rb") as file:
            private = is_private(os.fstat(file.fileno()))
            data = file.read()
    except OSError as error:
        hint = ": copy config.example.toml there, or name another file" if isinstance(error, FileNotFoundError) else ""
        message = f"cannot be read: {error.strerror}{hint} (--config, or $SCHEDCTL_CONFIG)"
        raise ConfigError([Fault(keys=(), message=message)], name=str(path)) from error
    try:
        return data.decode("utf-8-sig"), private
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        fault = Fault(keys=(), line=line, message="not valid TOML: this line is not UTF-8; save the file as UTF-8")
        raise ConfigError([fault], name=str(path)) from error


def _read_query_files(tables: Mapping[str, Any], base: Path) -> Iterator[tuple[str, str | Unreadable]]:
    jobs = tables.get("jobs")
    for table in jobs.values() if isinstance(jobs, Mapping) else ():
        file = table.get("query_file") if isinstance(table, Mapping) else None
        if not isinstance(file, str) or "\0" in file:
            continue
        try:
            yield file, (base / file).read_bytes().decode("utf-8-sig")
        except OSError as error:
            yield file, Unreadable(reason=f"{base / file} cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            yield file, Unreadable(reason=f"{base / file} is not UTF-8: save it as UTF-8")
