"""Connections made ready for use: secrets, names, and where refresh tokens lie."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from exporter.settings.connection import SalesforceConnection
from exporter.settings.databases import DuckdbConnection
from scheduler.config.build import Config, parse
from scheduler.config.connections import make_ready
from scheduler.secrets.resolve import SecretError

CONNECTIONS = """
[connections.warehouse]
type = "duckdb"
[connections.crm]
type = "salesforce"
auth = "oauth"
login_url = "https://login.salesforce.com"
client_id = "3MVG"
client_secret = { env = "CRM_SECRET" }
[connections.placed]
type = "salesforce"
auth = "oauth"
login_url = "https://login.salesforce.com"
client_id = "3MVG"
token_file = "keys/crm.json"
[connections.app]
type = "salesforce"
login_url = "https://o.my.salesforce.com"
client_id = "3MVG"
client_secret = "plain-text"
"""
ENVIRON = {"CRM_SECRET": "5ecret-5ecret", "STATE_DIRECTORY": "/var/lib/schedctl"}


def config(storage: str = "") -> Config:
    return parse(storage + CONNECTIONS, base=Path("/etc/schedctl"), state=Path("/var/lib/schedctl"))


def ready(loaded: Config, name: str) -> SalesforceConnection:
    connection = make_ready(loaded, name, environ=ENVIRON)
    assert isinstance(connection, SalesforceConnection)
    return connection


@pytest.mark.parametrize(
    ("storage", "name", "path"),
    [
        ("", "crm", "/var/lib/schedctl/tokens/crm.json"),
        ('[storage]\nurl = "sqlite:///own/state.db"\n', "crm", "/etc/schedctl/own/tokens/crm.json"),
        ('[storage]\nurl = "sqlite:////srv/state.db"\n', "crm", "/srv/tokens/crm.json"),
        ('[storage]\nurl = "postgresql+psycopg://u@h/d"\n', "crm", "/var/lib/schedctl/tokens/crm.json"),
        ('[storage]\nurl = "sqlite:////srv/state.db"\n', "placed", "/etc/schedctl/keys/crm.json"),
    ],
)
def test_a_token_lies_where_the_config_says_or_beside_the_state(storage: str, name: str, path: str) -> None:
    assert ready(config(storage), name).token_file == path


def test_a_connection_knows_the_command_that_logs_in_to_it_and_has_its_secrets() -> None:
    connection = ready(config(), "crm")
    assert connection.login_command == "schedctl login crm"
    assert connection.client_secret == SecretStr("5ecret-5ecret")
    assert "5ecret" not in repr(connection)


def test_other_connections_have_no_token() -> None:
    assert ready(config(), "app").token_file is None
    assert isinstance(make_ready(config(), "warehouse", environ=ENVIRON), DuckdbConnection)


def test_a_secret_that_is_missing_is_told() -> None:
    with pytest.raises(SecretError, match="CRM_SECRET"):
        make_ready(config(), "crm", environ={})


def test_an_unknown_connection_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        make_ready(config(), "nowhere", environ=ENVIRON)


def test_deprecated_logins_are_warned_of_with_their_line() -> None:
    text = '[connections.old]\ntype = "salesforce"\nauth = "session_id"\nlogin_url = "https://o.my.salesforce.com"\n'
    [warning] = parse(text + 'session_id = "00D"\n').warnings
    assert (warning.keys, warning.line) == (("connections", "old", "auth"), 3)
    assert "nothing can renew it" in warning.message
