"""The HTTP below Trino's client: the certificates and the login that the settings name, and no others."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from requests.exceptions import ChunkedEncodingError, ContentDecodingError, InvalidSchema

from exporter.connections import TrinoConnection
from exporter.failures import configuration
from exporter.files import read_regular
from exporter.salesforce_settings import is_loopback


class PlainUriError(InvalidSchema):
    """The cluster wants its pages fetched by plain HTTP, although it was called by HTTPS."""


class StoppedError(requests.RequestException):
    """The query was canceled, so that no page of it is wanted."""


class TrinoSession(requests.Session):
    """A session for the client, which asks for no page any more once ``stopped`` is true.

    The client waits for a query's first rows, and lets nobody stop it meanwhile. Making one raises configuration
    ``CA_FILE``.
    """

    def __init__(self, settings: TrinoConnection, *, stopped: Callable[[], bool]) -> None:
        super().__init__()
        self._stopped = stopped
        self._ca_file = settings.ca_file
        self._scheme = settings.http_scheme
        if self._ca_file is not None:
            _check_certificates(self._ca_file)
        self.auth = _keep_headers  # without one, requests would take a password from ~/.netrc
        self.trust_env = not is_loopback(settings.host)

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - requests' own signature, of twenty arguments
        """Send a request. Raises :class:`PlainUriError` for one that would show the password on the network.

        An answer that breaks off in its body is a ConnectionError, like one that never comes.
        """
        if method == "GET" and self._stopped():
            raise StoppedError("stopped")
        if self._scheme == "https" and not str(url).startswith("https://"):
            raise PlainUriError("plain HTTP")
        if self._ca_file is not None:
            kwargs["verify"] = self._ca_file  # as an argument, or $REQUESTS_CA_BUNDLE would win over it
        try:
            return super().request(method, url, *args, **kwargs)
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
