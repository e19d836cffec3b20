"""OAuth's refresh-token grant: what `schedctl login` left behind is used again, and replaced where the org rotates."""

from pathlib import Path

from exporter.failures import configuration, internal
from exporter.settings.salesforce import SalesforceConnection
from exporter.targets.salesforce.auth.token_response import Login, ask_token, reveal
from exporter.targets.salesforce.auth.token_store import TokenFile
from exporter.targets.salesforce.http.http_session import OrgSession


def token_file(connection: SalesforceConnection) -> TokenFile:
    """Return the connection's token file. Raises internal if nobody has said where it lies."""
    path = Path(connection.token_file or "")
    if not path.is_absolute():
        raise internal("TOKEN_FILE_UNRESOLVED", "nobody has made token_file an absolute path")
    # the file itself, not a link to it: its successor is renamed into its place, and all who use it share one lock
    return TokenFile(path.resolve(), command=connection.login_command)


def patience(connection: SalesforceConnection) -> float:
    """Return the seconds to wait for others who refresh: each of them asks once, until a time-out at the latest."""
    return 2.0 * (connection.connect_timeout + connection.read_timeout)


def log_in(session: OrgSession, connection: SalesforceConnection) -> Login:
    """Ask for a token. A refresh token that came along is durable before the access token is returned.

    Raises CallError or ExportError.
    """
    file = token_file(connection)
    with file.locked(patience(connection)):
        kept = file.read()
        if kept.client_id != connection.client_id:
            message = f"the refresh token belongs to another client_id: run {connection.login_command}"
            raise configuration("NOT_LOGGED_IN", message)
        form = {
            "grant_type": "refresh_token",
            "client_id": kept.client_id,
            "refresh_token": kept.refresh_token,
        }
        if connection.client_secret is not None:
            form["client_secret"] = reveal("client_secret", connection.client_secret)
        with file.replacing() as write:
            granted = ask_token(session, connection, form)
            if granted.refresh_token not in (None, kept.refresh_token):
                write(kept.rotated(granted.refresh_token))
    return granted.login
