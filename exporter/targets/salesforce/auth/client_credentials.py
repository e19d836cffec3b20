"""OAuth's client-credentials grant: the app logs in as its run-as user, and asks again whenever it needs to."""

from exporter.settings.salesforce import SalesforceConnection
from exporter.targets.salesforce.auth.token_response import Login, ask_token, reveal
from exporter.targets.salesforce.http.http_session import OrgSession


def log_in(session: OrgSession, connection: SalesforceConnection) -> Login:
    """Ask for a token. Raises CallError or ExportError."""
    form = {
        "grant_type": "client_credentials",
        "client_id": connection.client_id or "",
        "client_secret": reveal("client_secret", connection.client_secret),
    }
    return ask_token(session, connection, form).login
