"""`connections add`: a connection more in the config file."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, get_origin
from urllib.parse import urlsplit

import typer

from scheduler.cli.arguments import options
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.printing.output import put, put_json, put_lines, say
from scheduler.errors.operation_error import failed, usage

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.settings import adbc, connection
    from scheduler.cli.state import session
    from scheduler.operations import check_connections, edit_config_file
else:
    adbc = Late("exporter.settings.adbc")
    connection = Late("exporter.settings.connection")
    session = Late("scheduler.cli.state.session")
    check_connections = Late("scheduler.operations.check_connections")
    edit_config_file = Late("scheduler.operations.edit_config_file")

PLACES = ("env", "credential", "file", "keyring")
"""Where a secret may be kept: what stands before the colon."""
FORMS = "env:NAME, credential:NAME, file:PATH or keyring:SERVICE/USER"


def add_connection(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new connection's name.")],
    pairs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Its keys, as in the config file; a secret as KEY=env:NAME, or credential:, file: or keyring:.",
        ),
    ] = None,
    type_: Annotated[str, typer.Option("--type", metavar="TYPE", help="Type of the connection, such as salesforce.")],
    test: Annotated[bool, typer.Option("--test", help="Log in first, and write nothing if that fails.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the change, and write nothing.")] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Write a connection into the config file.

    The rest of the file stays unchanged, comments included; a faulty connection is not written. Secrets are written as
    references: the name of an environment variable, of a systemd credential, or of a file.
    """
    path = session.find_config(config)
    loaded = session.read_config(config)
    if name in loaded.connections:
        raise usage(f"there is a connection {name} already: change it in {loaded.name}, or choose another name")
    if type_ not in connection.CONNECTION_MODELS:
        raise usage(f"--type {type_}: the types are {', '.join(sorted(connection.CONNECTION_MODELS))}")
    session.refuse_unconfirmed(path, loaded, datetime.now(UTC))
    draft = edit_config_file.draft(path, "connections", name, {"type": type_, **_table(type_, pairs or [])})
    if test:
        result = check_connections.check_connection(draft.config, name)
        if not result.ok:
            raise failed(f"nothing was written: {result.subject}: {result.message}")
        say(f"ok: {result.subject}: {result.message}")
    if dry_run and as_json:
        put_json({"name": name, "config": str(path), "line": draft.line, "diff": draft.diff()})
        return
    if dry_run:
        say("nothing is written; it would be:")
        put_lines(draft.diff())
        return
    edit_config_file.store(draft)
    _put_added(name, draft.path, draft.line, as_json=as_json)


def _put_added(name: str, path: "Path", line: int | None, *, as_json: bool) -> None:
    if as_json:
        put_json({"added": name, "config": str(path), "line": line})
    else:
        put(f"{path}:{line}: added connection {name}; schedctl connections test {name} tries it")


def _table(type_: str, pairs: list[str]) -> dict[str, Any]:
    """Return the keys as the config file has them. Raises a usage error that shows no secret."""
    table: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise usage(f"{key or 'a pair'}: write KEY=VALUE, such as login_url=https://yourorg.my.salesforce.com")
        outer, dot, name = key.partition(".")
        inner = table.setdefault(outer, {}) if dot and _is_table(type_, outer) else None
        if key == "type" or (key if inner is None else name) in (table if inner is None else inner):
            raise usage(f"{key}: it is given twice" if key != "type" else "type: it is given by --type")
        if inner is not None:
            inner[name] = _option(key, value)
        elif _is_table(type_, key):
            raise usage(f"{key} is a table: write {key}.NAME=VALUE")
        else:
            table[key] = _secret(key, value) if _is_secret(type_, key) else _value(value)
    return table


def _is_table(type_: str, key: str) -> bool:
    found = connection.CONNECTION_MODELS[type_].model_fields.get(key)
    return found is not None and get_origin(found.annotation) is dict


def _option(key: str, value: str) -> Any:  # noqa: ANN401 - text, or a reference
    """Return the value of a driver's option, which is text unless its form or its name makes it a secret."""
    place, colon, where = value.partition(":")
    is_reference = place in PLACES and colon and where and not where.startswith("//")
    return _secret(key, value) if is_reference or adbc.names_secret(key) else value


def _is_secret(type_: str, key: str) -> bool:
    found = connection.CONNECTION_MODELS[type_].model_fields.get(key)
    return found is not None and "SecretReference" in str(found.annotation)


def _secret(key: str, value: str) -> Any:  # noqa: ANN401 - a reference, or a URL without a password
    place, colon, where = value.partition(":")
    if place in PLACES and colon and where and not where.startswith("//"):
        return {place: where}
    if key in ("url", "uri") and "://" in value and urlsplit(value).password is None and "token" not in value.lower():
        return value
    raise usage(f"{key} is a secret, and what is typed here is kept by the shell: write {key}= and one of {FORMS}")


def _value(value: str) -> Any:  # noqa: ANN401 - what TOML has for it
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isascii() and value.isdecimal() else value
