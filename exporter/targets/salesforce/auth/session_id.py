"""A session that somebody else opened: nothing is asked for, and nothing can renew it."""

from exporter.failures import configuration
from exporter.settings.salesforce import SalesforceConnection
from exporter.targets.salesforce.auth.token_response import Login, reveal
from exporter.targets.salesforce.http.responses import UnreadableAnswerError, read_token


def log_in(connection: SalesforceConnection) -> Login:
    """Return the session as it was given; whether it lives, the first call tells. Raises configuration."""
    try:
        token = read_token(reveal("session_id", connection.session_id))
    except UnreadableAnswerError as error:
        message = "session_id holds spaces or other characters that no session has: write it anew"
        raise configuration("SESSION_ID_MALFORMED", message) from error
    return Login(token=token, instance_url=connection.login_url)
