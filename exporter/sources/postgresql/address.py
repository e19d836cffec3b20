"""The address of a PostgreSQL database, looked at first: libpq quotes one that it cannot read, and its password."""

import psycopg
from psycopg.conninfo import conninfo_to_dict

from exporter.failures import ExportError, configuration


def check_url(url: str) -> None:
    """Raise configuration ``URL_MALFORMED``, which shows nothing of it, for a URL that libpq cannot read, or misreads.

    A password whose ``@`` or ``/`` stands as it is ends early: the rest of it would be looked up as a host, or a port.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise _malformed(str(error).partition('"')[0].strip(" :").removesuffix(" in")) from None
    hosts, ports = (str(parts.get(key) or "").split(",") for key in ("host", "port"))
    if any("@" in host[1:] and not host.startswith("/") for host in hosts):
        raise _malformed("the host holds an @")
    if any(port and not (port.isascii() and port.isdigit()) for port in ports):
        raise _malformed("the port is no number")


def _malformed(why: str) -> ExportError:
    return configuration(
        "URL_MALFORMED",
        f"url cannot be read ({why}): write special characters of user, password and database as percent "
        "codes, such as %40 for @, %2F for /, %25 for % and %20 for a space",
    )
