"""One HTTP session to Salesforce: limits on every call, no redirects, answers read to the end, and what went wrong.

Home of simple-salesforce, which opens nothing itself here: it keeps the token and the addresses.
"""

import email.utils
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import IO, Any
from urllib.parse import urlsplit

import requests
import requests.exceptions
import urllib3.exceptions
from simple_salesforce.api import Salesforce

from exporter.events import Called, Listener
from exporter.failures import ExportError, FailureKind
from exporter.http.calls import (
    PIECE,
    AnswerTooLargeError,
    BrokenAnswerError,
    CallStoppedError,
    Line,
    TooSlowError,
    receive,
)
from exporter.http.sessions import LimitedSession
from exporter.masking import hide, written_forms
from exporter.settings.base import is_loopback
from exporter.settings.salesforce import SalesforceConnection
from exporter.targets.salesforce.http.error_codes import BUSY_STATUSES, Rule, Verdict, Where, classify
from exporter.targets.salesforce.http.message_values import ECHO, without_values
from exporter.targets.salesforce.http.network import PROXY_LOGIN, ProxyFaultError, causes, missing_bundle, read_network
from exporter.targets.salesforce.http.responses import UnreadableAnswerError, read_error

LARGEST_ANSWER = 1 << 20
"""Decompressed bytes of an answer about one thing: a login, a BulkJob, a batch. Real ones have some thousand."""
LARGEST_LIST = 1 << 25
"""The same of a describe, a page of records, a list of batches, a batch as it was sent. The largest real ones: 15,000
batches of 700 bytes each, an object of 800 fields with their picklists, 2,000 records."""
LARGEST_RESULT = 1 << 26
"""The same of what became of a batch's rows: it may quote each of their 10,000,000 bytes, some several times."""
LARGEST_FILE = 1_200_000_000
"""The same of a part of a bulk query's result, which goes to disk: 1 GB (Bulk API limits), and some room."""
_LARGEST_ERROR = 1 << 18
_LONGEST_RETRY_AFTER = 1e9
"""Seconds that stand for every longer wait: thirty years."""
_REDIRECTS, _REFUSALS, _REQUEST_TIMEOUT, _SERVER_FAULT = 300, 400, 408, 500
"""HTTP statuses. A server's or gateway's own failure, or time-out, says nothing of what became of the request."""
_QUOTA = re.compile(r"\bapi-usage=([0-9]{1,12})/([0-9]{1,12})")
_QUOTING = frozenset({Verdict.ROW, Verdict.INTERNAL})
"""What refuses a request that may hold rows' values, such as the keys of a query, and may repeat them."""
_MIN_HIDDEN = 4
"""A shorter secret stands in every other word: hiding it would give it away."""


class Received(StrEnum):
    """Whether the server acted on a request that failed."""

    NO = "no"
    MAYBE = "maybe"


class CallError(Exception):
    """A request that failed. Stays inside this package; :meth:`outward` makes the error that leaves it."""

    def __init__(
        self,
        rule: Rule,
        code: str,
        message: str,
        *,
        received: Received,
        retry_after: float | None = None,
    ) -> None:
        self.rule = rule
        self.code = code
        self.message = message
        self.received = received
        self.retry_after = retry_after
        super().__init__(f"{code}: {message}")

    def with_rule(self, rule: Rule, message: str | None = None) -> "CallError":
        """Return the same error under another rule, or in other words."""
        return CallError(
            rule,
            self.code,
            self.message if message is None else message,
            received=self.received,
            retry_after=self.retry_after,
        )

    def without(self, secrets: Iterable[str]) -> "CallError":
        """Return the same error with no secret in its message, should the server have echoed one."""
        known = (secret for secret in secrets if len(secret) >= _MIN_HIDDEN)
        return self.with_rule(self.rule, hide(self.message, (form for each in known for form in written_forms(each))))

    def outward(self) -> ExportError:
        """Return the ExportError to raise for this."""
        kinds = {Verdict.CONFIGURATION: FailureKind.CONFIGURATION, Verdict.SESSION: FailureKind.CONFIGURATION}
        kind = kinds.get(self.rule.verdict, FailureKind.TRANSIENT)
        if self.rule.verdict in {Verdict.INTERNAL, Verdict.JOB_OVER}:
            kind = FailureKind.INTERNAL
        elif self.rule.verdict is Verdict.ROW:
            kind = FailureKind.DATA
        advice = f": {self.rule.advice}" if self.rule.advice else ""
        quota = self.rule.verdict is Verdict.QUOTA
        return ExportError(kind, self.code, f"{self.message}{advice}", retry_after=self.retry_after, quota=quota)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A good answer, decompressed. ``date`` is the server's clock, if the answer says it."""

    content: bytes
    date: datetime | None


class RefusedError(Exception):
    """An answer with a status of 300 or above; of ``content`` that is too long only the beginning is kept."""

    def __init__(self, response: requests.Response, content: bytes) -> None:
        self.status = response.status_code
        self.content = content
        self.retry_after = _seconds(response.headers.get("Retry-After"), _date(response))
        self.location = _host(response.headers.get("Location", ""))
        super().__init__(f"HTTP {self.status}")


def _called(answer: requests.Response, received: int) -> Called:
    """Say what a request took. The header: REST API Developer Guide, "Limit Info Header" (api-usage=18/5000)."""
    found = _QUOTA.search(answer.headers.get("Sforce-Limit-Info", ""))
    sent = answer.request.headers.get("Content-Length") or "0"
    quota = (int(found[1]), int(found[2])) if found is not None else None
    return Called(sent=int(sent), received=received, quota=quota)


class OrgSession(LimitedSession):
    """A session that raises RefusedError for every answer but a good one, before anyone else looks at it.

    Every call ends: by the connection's time-outs, by the size of its answer, or when ``line.stop()`` is called.
    Making one raises configuration for network settings that cannot work on this machine.
    """

    def __init__(
        self,
        connection: SalesforceConnection,
        listen: Listener = lambda _event: None,
        *,
        call_timeout: float = float("inf"),
    ) -> None:
        """``call_timeout`` is how many seconds a call may take as a whole, where its phases would allow more."""
        connect, read = min(connection.connect_timeout, call_timeout), min(connection.read_timeout, call_timeout)
        super().__init__(Line(connect_timeout=connect, read_timeout=read, call_timeout=call_timeout))
        self._listen = listen
        self._network = read_network(connection)
        self._network.mount(self)
        self._timeouts = (connect, read)
        self.headers["User-Agent"] = f"schedctl/{_own_version()}"
        self.auth = _keep_headers  # without one, requests would put a password from ~/.netrc over our token
        self.trust_env = not is_loopback(urlsplit(connection.login_url).hostname or "")

    def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        largest: int = LARGEST_ANSWER,
    ) -> Answer:
        """Send bytes, which any retry can send again, and return the bytes that come back, ``largest`` at most."""
        content = bytearray()
        date = self._call(method, url, headers, body, content.extend, largest)
        return Answer(content=bytes(content), date=date)

    def store(self, url: str, headers: dict[str, str], file: IO[bytes]) -> None:
        """Get what may be too large for memory, and write it into ``file``. An answer cut short raises."""
        self._call("GET", url, headers, None, file.write, LARGEST_FILE)

    def _call(  # noqa: PLR0917 - a request, and where its answer goes
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None,
        body: bytes | None,
        write: Callable[[bytes], object],
        largest: int,
    ) -> datetime | None:
        """Make a call and return its date. A redirect counts as refused: it would carry the token off."""
        host = urlsplit(url).netloc
        options: dict[str, Any] = {"timeout": self._timeouts, "stream": True, "allow_redirects": False}
        with self.line.call(largest=largest):
            try:
                answer = self.request(method, url, headers=headers, data=body, **options, **self._network.options())
            except requests.RequestException as error:
                if (fault := self._network.find_proxy_fault(error, host)) is not None:
                    raise fault from error
                raise
            except OSError as error:  # requests' own check of the file of certificates
                raise missing_bundle(error) from error
            with answer:
                is_good = answer.status_code < _REDIRECTS
                start = bytearray()
                try:
                    write, room = (write, largest) if is_good else (start.extend, _LARGEST_ERROR)
                    received = receive(answer.iter_content(PIECE), write, largest=room)
                except AnswerTooLargeError:
                    if is_good:
                        raise
                    received = len(start)  # the beginning of an error says enough
            self._listen(_called(answer, received))
            if answer.status_code == PROXY_LOGIN:
                raise self._network.refusal(PROXY_LOGIN, host)
            if not is_good:
                raise RefusedError(answer, bytes(start))
            return _date(answer)


def open_org(session: OrgSession, *, instance_url: str, token: str, api_version: str) -> Salesforce:
    """Return simple-salesforce's client for an instance whose token we have. Sends nothing."""
    org = Salesforce(instance_url=instance_url, session_id=token, session=session, version=api_version)
    # It forces https on what it is given; a local Salesforce speaks http.
    org.base_url = f"{instance_url}/services/data/v{api_version}/"
    org.bulk_url = f"{instance_url}/services/async/{api_version}/"
    return org


@contextmanager
def diagnosing(where: Where, host: str) -> Iterator[None]:
    """Turn whatever requests, simple-salesforce and our readers raise in the block into a CallError."""
    try:
        yield
    except RefusedError as error:
        raise _diagnose_refusal(error, where, host) from error
    except ProxyFaultError as error:
        raise _diagnose_proxy(error) from error
    except requests.RequestException as error:
        raise _diagnose_connection(error, host) from error
    except CallStoppedError as error:
        raise _passing("CALL_STOPPED", f"{host}: the call was stopped", received=Received.MAYBE) from error
    except (UnreadableAnswerError, BrokenAnswerError) as error:
        raise _passing("UNREADABLE_ANSWER", f"{host}: {error}", received=Received.MAYBE) from error


def _diagnose_refusal(error: RefusedError, where: Where, host: str) -> CallError:
    if error.status < _REFUSALS:
        rule = Rule(where=where, code="", words="", verdict=Verdict.CONFIGURATION, advice="check login_url")
        message = f"{host} sends us on to {error.location or 'another address'}"
        return CallError(rule, "REDIRECTED", message, received=Received.NO)
    reported = read_error(error.content)
    rule = classify(where, reported.code, reported.message, status=error.status)
    is_refusal = error.status < _SERVER_FAULT and error.status != _REQUEST_TIMEOUT
    understood = is_refusal and (bool(reported.code) or error.status in BUSY_STATUSES)
    said = reported.message
    if where is Where.CALL and (rule.verdict in _QUOTING or not reported.code or ECHO in said):
        said = without_values(said)
    message = said if reported.code else f"{host} answers HTTP {error.status} with {said}"
    return CallError(
        rule,
        reported.code or f"HTTP_{error.status}",
        message or f"{host} answers HTTP {error.status}",
        received=Received.NO if understood else Received.MAYBE,
        retry_after=error.retry_after,
    )


def _diagnose_proxy(error: ProxyFaultError) -> CallError:
    """Retry a proxy that may be about to restart: one night without it must not disable a job."""
    verdict = Verdict.TRANSIENT if error.passing else Verdict.CONFIGURATION
    rule = Rule(where=Where.CALL, code="", words="", verdict=verdict)
    return CallError(rule, error.code, error.message, received=Received.NO)


_CONNECTION_FAULTS: tuple[tuple[tuple[type[BaseException], ...], str, str, Received], ...] = (
    ((requests.exceptions.ConnectTimeout,), "CONNECT_TIMEOUT", "{} cannot be reached in time", Received.NO),
    ((TooSlowError,), "READ_TIMEOUT", "{} is too slow: the call was ended", Received.MAYBE),
    (
        (requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError),
        "READ_TIMEOUT",
        "{} does not answer in time",
        Received.MAYBE,
    ),
    (
        (socket.gaierror, urllib3.exceptions.NameResolutionError),
        "HOST_UNKNOWN",
        "there is no address for {}: check login_url",
        Received.NO,
    ),
    ((ConnectionRefusedError,), "CONNECTION_REFUSED", "{} takes no connections", Received.NO),
    ((urllib3.exceptions.NewConnectionError,), "CONNECTION_FAILED", "{} cannot be reached", Received.NO),
    ((requests.exceptions.SSLError,), "TLS_FAILED", "{}: no secure connection", Received.MAYBE),
    ((requests.exceptions.JSONDecodeError,), "UNREADABLE_ANSWER", "{}: the answer is no JSON", Received.MAYBE),
    (
        (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError),
        "TRUNCATED_ANSWER",
        "{}: the answer is cut short",
        Received.MAYBE,
    ),
)
"""By the first kind of error among the causes: what it is called, and whether the request may have been received."""


def _diagnose_connection(error: requests.RequestException, host: str) -> CallError:
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        advice = "check login_url, and ca_file if the org is behind a gateway with certificates of its own"
        rule = Rule(where=Where.CALL, code="", words="", verdict=Verdict.CONFIGURATION, advice=advice)
        return CallError(rule, "TLS_UNTRUSTED", f"the certificate of {host} is not trusted", received=Received.NO)
    found = list(causes(error))
    for kinds, code, message, received in _CONNECTION_FAULTS:
        if any(isinstance(cause, kinds) for cause in found):
            return _passing(code, message.format(host), received=received)
    return _passing("CONNECTION_LOST", f"{host} closed the connection without an answer", received=Received.MAYBE)


def _passing(code: str, message: str, *, received: Received) -> CallError:
    rule = Rule(where=Where.CALL, code="", words="", verdict=Verdict.TRANSIENT)
    return CallError(rule, code, message, received=received)


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _own_version() -> str:
    try:
        return version("schedctl")
    except PackageNotFoundError:  # run from a tree that was never installed
        return "0"


def _date(response: requests.Response) -> datetime | None:
    return _http_date(response.headers.get("Date"))


def _http_date(text: str | None) -> datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(text or "")
    except (ValueError, TypeError, IndexError, OverflowError):  # what it raises for text that is no date
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _seconds(retry_after: str | None, now: datetime | None) -> float | None:
    """Read Retry-After: seconds, or a time by the server's own clock; never infinite."""
    if retry_after is None:
        return None
    if re.fullmatch(r"[0-9]+", retry_after.strip()):
        return min(float(retry_after), _LONGEST_RETRY_AFTER)
    until = _http_date(retry_after)
    if until is None or now is None:
        return None
    return min(max(0.0, (until - now).total_seconds()), _LONGEST_RETRY_AFTER)


def _host(location: str) -> str | None:
    try:
        return urlsplit(location).hostname
    except ValueError:
        return None
