"""How a MySQL server is reached: what the settings say, as the driver's arguments. Reads the file of certificates."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pydantic import SecretStr

from exporter.failures import ExportError, configuration, internal
from exporter.host.regular_files import read_regular
from exporter.settings.connection import MysqlConnection

_SCHEMES = frozenset({"mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"})


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Address:
    """Where a database is, and who asks. No ``repr``: it holds the password."""

    host: str | None
    port: int | None
    socket: str | None
    database: str
    user: str | None
    password: str | None


def read_address(settings: MysqlConnection) -> Address:
    """Return the address that the settings name. Raises configuration ``URL`` if their url is none."""
    url = _revealed(settings.url)
    if url is not None:
        return _from_url(url)
    is_socket = settings.host is not None and settings.host.startswith("/")
    return Address(
        host=None if is_socket else settings.host,
        port=settings.port,
        socket=settings.host if is_socket else None,
        database=settings.database or "",
        user=settings.user,
        password=_revealed(settings.password),
    )


def _from_url(text: str) -> Address:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise _no_url("it is no URL") from error
    database = unquote(url.path.removeprefix("/"))
    if url.scheme not in _SCHEMES or not database or "/" in database:
        raise _no_url("its form is mysql://user@host:3306/database")
    return Address(
        host=url.hostname,
        port=port,
        socket=_socket(url),
        database=database,
        user=None if url.username is None else unquote(url.username),
        password=None if url.password is None else unquote(url.password),
    )


def _socket(url: SplitResult) -> str | None:
    options = parse_qs(url.query, keep_blank_values=True)
    socket = options.pop("unix_socket", [None])[-1]
    if options:
        raise _no_url(
            f"it sets {', '.join(sorted(options))}: only unix_socket may; ssl_mode and ca_file are keys beside it"
        )
    return socket


def _no_url(why: str) -> ExportError:
    return configuration("URL", f"url: {why}")


def driver_arguments(settings: MysqlConnection) -> dict[str, Any]:
    """Return what the driver connects with. Raises configuration ``URL`` and ``CA_FILE``."""
    address = read_address(settings)
    mode = settings.ssl_mode or ("verify_identity" if settings.ca_file is not None else "preferred")
    return {
        "host": address.host,
        "port": address.port or 0,
        "unix_socket": address.socket,
        "database": address.database,
        "user": address.user,
        "password": (address.password or "").encode(),  # the driver would make Latin-1 of a text
        "ssl_disabled": mode == "disabled",
        "ssl": _encryption(mode, settings.ca_file),
    }


def _encryption(mode: str, ca_file: str | None) -> ssl.SSLContext | None:
    """Return how to encrypt; None leaves it to the server, or switches it off."""
    if mode in ("disabled", "preferred"):
        return None
    try:
        if ca_file is not None:
            read_regular(Path(ca_file))  # OpenSSL would wait for ever at a pipe
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        why = (
            error.strerror
            if error.strerror and not isinstance(error, ssl.SSLError)
            else "it holds no certificate in PEM form"
        )
        raise configuration(
            "CA_FILE", f"the file of trusted certificates cannot be used: {why}; check ca_file"
        ) from error
    # MySQL signs its certificates itself, in a form that Python 3.13 takes to be not strict enough.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if mode in ("required", "verify_ca"):
        context.check_hostname = False
    if mode == "required":
        context.verify_mode = ssl.CERT_NONE
    return context


def _revealed(secret: object) -> str | None:
    if secret is None:
        return None
    if not isinstance(secret, SecretStr):
        raise internal("SECRET_UNRESOLVED", "a secret of the connection is a reference that nobody has looked up")
    return secret.get_secret_value()
