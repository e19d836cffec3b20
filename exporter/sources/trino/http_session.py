"""The HTTP below Trino's client: the certificates and the login that the settings name, and no others."""

import ssl
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.exceptions import ChunkedEncodingError, ContentDecodingError, InvalidSchema

from exporter.failures import configuration
from exporter.host.regular_files import read_regular
from exporter.http.calls import Line
from exporter.http.sessions import LimitedSession
from exporter.settings.base import is_loopback
from exporter.settings.connection import TrinoConnection

CALL_SECONDS = 30.0
_END_SECONDS = 3.0
"""How long a cluster may take to hear that a query is over: the run that was stopped waits for it."""
_LARGEST_PAGE = 1 << 26
"""Bytes of a page of rows, decompressed: Trino makes pages of some MB, or one row."""


class PlainUriError(InvalidSchema):
    """The cluster wants its pages fetched by plain HTTP, although it was called by HTTPS."""


class OtherHostError(InvalidSchema):
    """The cluster wants its pages fetched from another host, which would get the password."""


class TrinoSession(LimitedSession):
    """A session for the client, whose every call ends. Making one raises configuration ``CA_FILE``.

    The client waits for a query's first rows, and lets nobody stop it meanwhile: :meth:`stop` does.
    """

    def __init__(self, settings: TrinoConnection) -> None:
        super().__init__(Line(connect_timeout=CALL_SECONDS, read_timeout=CALL_SECONDS))
        self._issuing = Line(connect_timeout=CALL_SECONDS, read_timeout=CALL_SECONDS)
        self._ending = Line(connect_timeout=_END_SECONDS, read_timeout=_END_SECONDS)
        self._host = settings.host.strip("[]").lower()
        self._ca_file = settings.ca_file
        self._scheme = settings.http_scheme
        if self._ca_file is not None:
            _check_certificates(self._ca_file)
        self.auth = _keep_headers  # without one, requests would take a password from ~/.netrc
        self.trust_env = not is_loopback(settings.host)

    def stop(self) -> None:
        """End the calls that are made, and refuse all others but those that end a query. Never blocks.

        The answer to a query that was just issued is waited for some seconds, for only it says how to end that query.
        """
        self.line.stop()
        patience = threading.Timer(_END_SECONDS, self._issuing.stop)
        patience.daemon = True
        patience.start()

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - requests' own signature, of twenty arguments
        """Send a request. Raises PlainUriError or OtherHostError for one that would give the password away.

        An answer that breaks off in its body is a ConnectionError, like one that never comes.
        """
        if self._scheme == "https" and not str(url).startswith("https://"):
            raise PlainUriError("plain HTTP")
        try:
            host = (urlsplit(str(url)).hostname or "").lower()
        except ValueError as error:
            raise OtherHostError("no address") from error
        if host != self._host:
            raise OtherHostError(host)
        if self._ca_file is not None:
            kwargs["verify"] = self._ca_file  # as an argument, or $REQUESTS_CA_BUNDLE would win over it
        line = {"DELETE": self._ending, "POST": self._issuing}.get(str(method), self.line)
        try:
            return self.fetch(method, url, *args, largest=_LARGEST_PAGE, line=line, **kwargs)
        except (ChunkedEncodingError, ContentDecodingError) as error:
            raise requests.ConnectionError(error) from error  # these two the client would not ask for again


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _check_certificates(path: str) -> None:
    try:
        read_regular(Path(path))  # OpenSSL would wait for ever at a pipe
        ssl.create_default_context(cafile=path)
    except OSError as error:
        what = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise configuration(
            "CA_FILE", f"the file of trusted certificates cannot be used: {what}; check ca_file"
        ) from error
