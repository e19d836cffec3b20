"""A session that somebody else opened: nothing is asked for, and nothing can renew it."""

from exporter.salesforce_settings import SalesforceConnection
from exporter.targets.salesforce.logins.answer import Login, reveal


def log_in(connection: SalesforceConnection) -> Login:
    """Return the session as it was given; whether it lives, the first call tells."""
    return Login(token=reveal("session_id", connection.session_id), instance_url=connection.login_url)
