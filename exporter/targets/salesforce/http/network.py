"""How calls leave this machine: through which proxy, from which address, trusting which certificates.

What is wrong with these settings is found before the first call, where it can be.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from pydantic import SecretStr

from exporter.failures import ExportError, configuration, internal
from exporter.host.regular_files import read_regular
from exporter.http.sessions import LimitedAdapter
from exporter.settings.salesforce import SalesforceConnection

_PROXY_FORM = 'write "http://proxy.example.com:3128", with user:password@ before the host if it asks for them'
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")
PROXY_LOGIN = 407
"""HTTP status: the proxy asks for a user and a password, or takes those given for wrong ones."""
_SERVER_FAULT = 500


class ProxyFaultError(Exception):
    """The proxy, not Salesforce, let a call down: Salesforce received nothing of it.

    ``passing``: another try may do. ``message`` names the proxy without its password.
    """

    def __init__(self, code: str, message: str, *, passing: bool) -> None:
        self.code = code
        self.message = message
        self.passing = passing
        super().__init__(f"{code}: {message}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """Checked settings. ``proxy`` is a URL that may hold a password, ``proxy_name`` its host and port."""

    proxy: str | None = field(default=None, repr=False)
    proxy_name: str = ""
    ca_file: str | None = None
    source_address: str | None = None

    def options(self) -> dict[str, Any]:
        """Return what each request takes: as arguments these overrule the variables of the environment."""
        options: dict[str, Any] = {}
        if self.proxy is not None:
            options["proxies"] = {"http": self.proxy, "https": self.proxy}
        if self.ca_file is not None:
            options["verify"] = self.ca_file
        return options

    def mount(self, session: requests.Session) -> None:
        """Have the session call from the source address, if there is one."""
        if self.source_address is not None:
            for scheme in ("https://", "http://"):
                session.mount(scheme, _FromAddress(self.source_address))

    def find_proxy_fault(self, error: requests.RequestException, host: str) -> ProxyFaultError | None:
        """Return what is wrong with the proxy, if that is what is wrong."""
        if self.proxy is None:
            return None
        refused = _TUNNEL_REFUSED.search(str(error))
        if refused is not None:
            return self.refusal(int(refused[1]), host)
        if not isinstance(error, requests.exceptions.ProxyError):
            return None
        subject = f"proxy = {self.proxy_name}"
        text = str(error)
        if "only use HTTP and not HTTPS" in text:
            message = f"{subject}: it speaks plain HTTP; write http:// before its name"
            return ProxyFaultError("PROXY_SCHEME", message, passing=False)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            message = f"{subject}: its certificate is not trusted; name its authority in ca_file, or write http://"
            return ProxyFaultError("PROXY_UNTRUSTED", message, passing=False)
        what = "its name is unknown" if "NameResolutionError" in text else "it takes no connections"
        if any(isinstance(each, TimeoutError) for each in causes(error)):
            what = "it does not answer in time"
        return ProxyFaultError("PROXY_DOWN", f"{subject}: {what}; check the address, or remove proxy", passing=True)

    def refusal(self, status: int, host: str) -> ProxyFaultError:
        """Say what a proxy's own refusal means."""
        subject = f"proxy = {self.proxy_name}" if self.proxy_name else "the proxy of the environment"
        if status == PROXY_LOGIN:
            message = f"{subject}: it does not take our user and password; write them into proxy, before its host and @"
            return ProxyFaultError("PROXY_LOGIN", message, passing=False)
        if status >= _SERVER_FAULT:
            message = f"{subject}: it cannot reach {host} (HTTP {status})"
            return ProxyFaultError("PROXY_NO_WAY", message, passing=True)
        message = f"{subject}: it does not let us through to {host} (HTTP {status}); have that host allowed there"
        return ProxyFaultError("PROXY_REFUSED", message, passing=False)


def read_network(connection: SalesforceConnection) -> Network:
    """Check a connection's network settings against this machine. Raises configuration; nothing is sent."""
    proxy, name = _proxy(connection)
    if connection.ca_file is not None:
        _check_ca_file(connection.ca_file)
    if connection.source_address is not None:
        _check_source_address(connection.source_address)
    return Network(
        proxy=proxy, proxy_name=name, ca_file=connection.ca_file, source_address=connection.source_address
    )  # fmt: skip


def _proxy(connection: SalesforceConnection) -> tuple[str | None, str]:
    secret = connection.proxy
    if secret is None:
        return None, ""
    if not isinstance(secret, SecretStr):
        raise internal("SECRET_UNRESOLVED", "proxy is a reference that nobody has looked up")
    try:
        url = urlsplit(secret.get_secret_value())
        host, port = url.hostname or "", url.port
    except ValueError as error:
        raise configuration("PROXY", f"proxy: it is no URL; {_PROXY_FORM}") from error
    if url.scheme not in {"http", "https"} or not host or url.path.strip("/") or url.query or url.fragment:
        raise configuration("PROXY", f"proxy: it is not the address of an HTTP proxy; {_PROXY_FORM}")
    if any(ord(letter) > 0xFF for letter in unquote(f"{url.username}{url.password}")):  # noqa: PLR2004 - Latin-1's last
        raise configuration("PROXY", "proxy: user and password hold a letter that HTTP's basic login has no room for")
    shown = f"[{host}]" if ":" in host else host
    return secret.get_secret_value(), f"{shown}:{port or (443 if url.scheme == 'https' else 80)}"


def _check_ca_file(path: str) -> None:
    subject = f"ca_file = {path}"
    try:
        content = read_regular(Path(path)).decode("ascii", errors="replace")
        ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise configuration(
            "CA_FILE", f"{subject}: it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        ) from error
    except OSError as error:
        fix = "name a file that the daemon's user can read"
        raise configuration("CA_FILE", f"{subject}: it cannot be read: {error.strerror or error}; {fix}") from error
    if "-----BEGIN CERTIFICATE-----" not in content:  # OpenSSL takes lists of revoked ones too, which trust nothing
        raise configuration("CA_FILE", f"{subject}: it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")


def _check_source_address(address: str) -> None:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET  # noqa: PLR2004 - IPv6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        raise configuration(
            "SOURCE_ADDRESS",
            f"source_address = {address}: this machine has no such address ({error.strerror}); "
            "write one that `ip address` shows, or remove the key",
        ) from error


def missing_bundle(error: OSError) -> ExportError:
    """Return the fault of certificates that went away, or that a variable of the environment names wrongly."""
    return configuration(
        "CA_FILE",
        f"the file of trusted certificates cannot be used: {error}; check ca_file and $REQUESTS_CA_BUNDLE",
    )


class _FromAddress(LimitedAdapter):
    """Says that the settings are wrong where the server has no address of the same kind as ours."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__(source_address=address)

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:  # noqa: ANN401 - requests' own signature
        """Send a request. Raises configuration ``SOURCE_ADDRESS``."""
        try:
            return super().send(request, *arguments, **options)
        except requests.ConnectionError as error:
            if any(isinstance(each, socket.gaierror) and each.errno == socket.EAI_ADDRFAMILY for each in causes(error)):
                kind, other = ("IPv6", "IPv4") if ":" in self._address else ("IPv4", "IPv6")
                message = f"the server (or the proxy, if there is one) has no {kind} address; write an {other} one"
                raise configuration("SOURCE_ADDRESS", f"source_address = {self._address}: {message}") from error
            raise


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that ``error`` wraps: requests and urllib3 keep them as arguments, reasons and causes.

    Never its context: that may be an earlier call's error, which is being handled while this one is made.
    """
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [*found.args, getattr(found, "reason", None), found.__cause__]
