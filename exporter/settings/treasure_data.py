"""The settings of a Treasure Data connection, as the config file names them. Pure values.

Each key's description is what the reference in ``docs/configuration.md`` prints.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from exporter.settings.base import ConnectionSettings, Duration, Secret, Text, is_loopback

_FORM = 'write the API\'s address, such as "https://api.treasuredata.com"'


def _check_endpoint(value: str) -> str:
    """Accept the root URL of Treasure Data's API, without its trailing slash."""
    try:
        url = urlsplit(value)
        host = url.hostname or ""
        url.port  # noqa: B018 - reading it is what checks it
    except ValueError as error:
        raise ValueError(_FORM) from error
    if url.scheme not in {"https", "http"} or not host:
        raise ValueError(_FORM)
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError("use https: the key would cross the network in the clear (http is for this machine only)")
    if url.username is not None or url.path.strip("/") or url.query or url.fragment:
        raise ValueError(f"{_FORM}: no user, path or query")
    if host.startswith("console."):
        raise ValueError(f"that is the web console: {_FORM}")
    return value.rstrip("/")


class TreasureDataConnection(ConnectionSettings):
    """A database of Treasure Data, which is only read."""

    type: Literal["treasure_data"] = Field(description="`treasure_data`", examples=['"treasure_data"'])
    api_key: Secret = Field(
        description="an API key whose user may query the database: a reference, or plain text",
        examples=['{ env = "TD_API_KEY" }'],
    )
    endpoint: Annotated[str, AfterValidator(_check_endpoint)] = Field(
        default="https://api.treasuredata.com",
        description="the API's address in the account's region; `http://` for this machine only",
    )
    database: Text = Field(description="the database's name", examples=['"sales"'])
    engine: Literal["trino", "presto", "hive"] = Field(default="trino", description="what runs the query")
    priority: int = Field(default=0, ge=-2, le=2, description="of the query there: -2 is very low, 2 very high")
    query_retry_limit: int = Field(
        default=0, ge=0, le=32, description="how often Treasure Data itself runs a query again that failed"
    )
    initial_retry_delay: Duration = Field(default=5, description="wait before the first retry of a call; it doubles")
    retry_limit: int = Field(default=5, ge=0, le=100, description="how often one call is tried again")
