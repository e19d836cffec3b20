"""The config file: text in, a Config or every fault out. Pure, but for :func:`load`, which reads the files."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr, ValidationError

from exporter.settings.base import SecretReference, Settings
from exporter.settings.connection import CONNECTION_MODELS, Connection, SalesforceExport
from exporter.settings.databases import DuckdbConnection
from exporter.settings.salesforce import DEPRECATED_LOGINS, OLDEST_SAFE_API_VERSION, SalesforceConnection
from scheduler.config.document import Document, document
from scheduler.config.files import Reading, read
from scheduler.config.sections import Config, DaemonSettings, IncludeTable, MetricsSettings, Storage, StorageTable
from scheduler.environment.paths import default_spool, default_storage_url, sqlite_file
from scheduler.errors.setting_faults import (
    ConfigError,
    Fault,
    Keys,
    model_faults,
    show,
    under,
    unknown_key,
    unknown_value,
)
from scheduler.jobs.definition import Job, JobDefaults, QueryFiles, name_fault, parse_job, schedule_faults
from scheduler.jobs.dependencies import graph_faults
from scheduler.notifications.settings import NO_RELAY, NotifySettings
from scheduler.secrets.resolve import register
from scheduler.state.location import Location, local_directory, locate

__all__ = ["Config", "ConfigError", "Document", "Fault", "Reading", "build", "load", "parse", "read"]

_TOP_KEYS = ("include", "daemon", "storage", "defaults", "notify", "metrics", "connections", "jobs")
_FRAGMENT_KEYS = ("connections", "jobs")
_Model = TypeVar("_Model", bound=Settings)


def parse(
    text: str,
    *,
    name: str = "config.toml",
    base: Path | None = None,
    state: Path | None = None,
    query_files: QueryFiles | None = None,
    fragments: Iterable[Document] = (),
) -> Config:
    """Make a Config of the text of a config file.

    ``name`` is what faults call the file. Relative paths become relative to ``base`` (as they are without one); state
    lies in ``state`` where ``[storage]`` does not say. ``query_files`` are the texts of the files that jobs name;
    ``fragments`` are the files that ``include`` stands for. Raises ConfigError with every fault.
    """
    main = replace(document(text, name, base=base), query_files=query_files or {})
    return _build([main, *fragments], state=state)


def load(path: Path, *, environ: Mapping[str, str] | None = None, pipes: bool = False) -> Config:
    """Read a config file with the fragments and query files that it names: :func:`build` of what is there now.

    With ``pipes`` it may be a shell's ``<(command)``.
    """
    return build(read(path, pipes=pipes), environ=environ)


def build(reading: Reading, *, environ: Mapping[str, str] | None = None) -> Config:
    """Make a Config of what was read from disk.

    Raises ConfigError, also when a file could not be read. Plain-text secrets are from then on masked in the logs; if
    others can read the file that one stands in, it brings a warning.
    """
    environ = os.environ if environ is None else environ
    if reading.faults:
        raise ConfigError(reading.faults, name=str(reading.path))
    location = _location(reading, environ)
    state = location.directory if location is not None else local_directory(reading.path, environ)
    config = _build(reading.documents, state=state)
    config = replace(config, storage=replace(config.storage, location=location))
    plain = dict(_plain_secrets(config))
    register(plain.values())
    register(map(unquote, plain.values()))  # as it is after the URL that it stands in was taken apart
    shared = {each.name for each in reading.documents if not each.is_private}
    fix = "others can read this file: chmod 600 {}, or write a reference such as {{ env = … }}"
    warnings = [
        Fault(keys=keys, message=f"a secret stands here in plain text, and {fix.format(file)}")
        for keys in plain
        if (file := config.origins.get(keys[:2], config.name)) in shared
    ]
    return replace(config, warnings=(*config.warnings, *_located(warnings, config.origins, reading.documents)))


def _location(reading: Reading, environ: Mapping[str, str]) -> Location | None:
    """Return where the state of the config file is; None where its ``[storage] url`` says so."""
    storage = reading.documents[0].tables.get("storage")
    has_url = isinstance(storage, Mapping) and "url" in storage
    return None if has_url else locate(reading.path, environ)


def _build(documents: Sequence[Document], *, state: Path | None) -> Config:
    main, *fragments = documents
    tables = main.tables
    faults = [Fault(keys=(key,), message=unknown_key(key, _TOP_KEYS)) for key in tables if key not in _TOP_KEYS]
    _include_faults(tables, faults)
    daemon = _table(tables, "daemon", DaemonSettings, faults)
    if wrong := schedule_faults({"timezone": daemon.timezone}):
        faults += under(("daemon",), wrong)
        daemon = daemon.model_copy(update={"timezone": "UTC"})
    storage = _table(tables, "storage", StorageTable, faults)
    notify = _table(tables, "notify", NotifySettings, faults)
    metrics = _table(tables, "metrics", MetricsSettings, faults)
    defaults = {"timezone": daemon.timezone, **_defaults(tables, faults)}
    found = [*main.locate(faults), *(fault for each in fragments for fault in each.locate(_foreign_keys(each)))]
    connections: dict[str, Connection] = {}
    types: dict[str, str | None] = {}
    for each in documents:
        own: list[Fault] = []
        sound, kinds = _connections(each.tables, each.base, own)
        found += each.locate(own)
        connections |= {name: connection for name, connection in sound.items() if name not in types}
        types |= {name: kind for name, kind in kinds.items() if name not in types}
    jobs: dict[str, Job] = {}
    for each in documents:
        found += each.locate(_parse_jobs(each, jobs, types, defaults))
    found += _graph_faults(documents, jobs)
    notify_table = tables.get("notify", {})
    if not isinstance(notify_table, Mapping) or "smtp" not in notify_table:
        found += _unmailable(documents, jobs)
    found += _taken_names(documents)
    if found:
        raise ConfigError(found, name=main.name)
    origins = {place: each.name for each in documents for place in _places(each)}
    return Config(
        name=main.name,
        daemon=daemon,
        storage=_storage(storage, main.base or Path(), state or Path()),
        notify=_resolve_paths(notify, main.base),
        metrics=_resolve_paths(metrics, main.base),
        defaults=defaults,
        connections=connections,
        jobs=jobs,
        origins=origins,
        texts={each.name: each.text for each in documents},
        warnings=tuple(_located(_warnings(connections, jobs), origins, documents)),
    )


def _include_faults(tables: Mapping[str, Any], faults: list[Fault]) -> None:
    """Check what ``include`` names; the files themselves are looked for where they are read."""
    table = {"include": tables["include"]} if "include" in tables else {}
    try:
        IncludeTable.model_validate(table)
    except ValidationError as error:
        faults += model_faults(error, model=IncludeTable, table=table)


def _foreign_keys(fragment: Document) -> list[Fault]:
    """Return a fault for each table that an included file may not have."""
    belongs = "it belongs in the config file itself: an included file holds connections and jobs"
    return [
        Fault(keys=(key,), message=belongs if key in _TOP_KEYS else unknown_key(key, _FRAGMENT_KEYS))
        for key in fragment.tables
        if key not in _FRAGMENT_KEYS
    ]


def _places(each: Document) -> Iterator[Keys]:
    """Yield where the connections and jobs of a document stand."""
    for key in _FRAGMENT_KEYS:
        named = each.tables.get(key)
        yield from ((key, name) for name in (named if isinstance(named, Mapping) else ()))


def _taken_names(documents: Sequence[Document]) -> Iterator[Fault]:
    """Yield a fault for each name that an earlier file has already given away; it tells of both files."""
    owners: dict[Keys, Document] = {}
    for each in documents:
        for place in _places(each):
            owner = owners.setdefault(place, each)
            if owner is not each:
                (there,) = owner.locate([Fault(keys=place, message="")])
                message = f"it stands in {there.file}, line {there.line}, too: rename or remove one of the two"
                yield from each.locate([Fault(keys=place, message=message)])


def _parse_jobs(
    each: Document, jobs: dict[str, Job], types: Mapping[str, str | None], defaults: Mapping[str, object]
) -> list[Fault]:
    """Add the sound jobs of a document to ``jobs``, and return the faults of the others."""
    faults: list[Fault] = []
    for name, table in _named_tables(each.tables, "jobs", faults):
        try:
            job = parse_job(name, table, connections=types, defaults=defaults, query_files=each.query_files)
        except ConfigError as error:
            faults += error.faults
        else:
            jobs.setdefault(name, job)
    return faults


def _graph_faults(documents: Sequence[Document], jobs: Mapping[str, Job]) -> Iterator[Fault]:
    """Yield the faults of jobs that run after others: what they name has to be in the file too, and makes no circle."""
    places = {place: each for each in documents for place in _places(each)}
    known = {str(name) for key, name in places if key == "jobs"}
    parents = {name: job.after for name, job in jobs.items()}
    for name in parents:
        faults = graph_faults(parents, known, where=" in the config file", names=[name])
        yield from places["jobs", name].locate(faults)


def _unmailable(documents: Sequence[Document], jobs: Mapping[str, Job]) -> Iterator[Fault]:
    """Yield a fault for each job with recipients, where there is no mail server."""
    places = {place: each for each in documents for place in _places(each)}
    for name, job in jobs.items():
        if job.email is not None and not job.email.is_empty:
            fault = Fault(keys=("jobs", name, "email"), message=NO_RELAY)
            yield from places["jobs", name].locate([fault])


def _located(faults: Iterable[Fault], origins: Mapping[Keys, str], documents: Sequence[Document]) -> list[Fault]:
    """Return the faults with the file and line in which they stand: what no fragment has stands in the first file."""
    by_file: dict[str, list[Fault]] = {}
    for fault in faults:
        by_file.setdefault(origins.get(fault.keys[:2], documents[0].name), []).append(fault)
    return [fault for each in documents for fault in each.locate(by_file.get(each.name, ()))]


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
        elif isinstance(value, Mapping):
            changes[key] = {name: _resolve_reference(each, base) for name, each in value.items()}
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
    snapshots = base / table.snapshots if table.snapshots is not None else spool.with_name("snapshots")
    return Storage(url=url, spool=spool, snapshots=snapshots, history=table.history, min_free=table.min_free)


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
            elif isinstance(value, Mapping):
                plain = ((inner, each) for inner, each in value.items() if isinstance(each, SecretStr))
                yield from ((("connections", name, key, inner), each.get_secret_value()) for inner, each in plain)
    for position, url in enumerate(config.notify.urls):
        if isinstance(url, SecretStr):
            yield ("notify", "urls", position), url.get_secret_value()
    if isinstance(config.notify.smtp, SecretStr):
        yield ("notify", "smtp"), config.notify.smtp.get_secret_value()
    if password := urlsplit(config.storage.url).password:
        yield ("storage", "url"), password
