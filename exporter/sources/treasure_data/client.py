"""Treasure Data's REST API over its own client; the home of td-client.

The client's own retries cannot be canceled and hide what was answered, so each call is made once here, and every
failure of it leaves as an ExportError.
"""

import io
import os
import re
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import IO, Any
from urllib.parse import quote, urlsplit

import tdclient.api
import tdclient.errors
import urllib3

from exporter.failures import ExportError, configuration, internal, transient
from exporter.http.calls import BrokenAnswerError, CallStoppedError, Line, TooSlowError, limit, receive
from exporter.sources.treasure_data.errors import answer_fault, conflicting_job, job_gone, query_canceled

CONNECT_SECONDS, READ_SECONDS = 30.0, 120.0
END_SECONDS = 3.0
"""How long Treasure Data may take to hear that a job is over: the run that was stopped waits for it."""
_LARGEST_ANSWER = 1 << 24
"""Bytes of an answer besides results, decompressed: what is reported of a job holds its query and its log."""
_LARGEST_RESULT = 1 << 40
"""Bytes of a result, compressed; the disk ends before."""
_PIECE = 256 * 1024
_NOT_FOUND = 404
_CONFLICT = 409
_PARTIAL = 206
_SUCCESSES = (200, _PARTIAL)
_RANGE_REFUSED = 416


class JobExistsError(Exception):
    """A job with this domain key exists; ``job_id`` is its, if the answer says so."""

    def __init__(self, job_id: str | None) -> None:
        self.job_id = job_id
        super().__init__(job_id)


class _Api(tdclient.api.API):
    """The client, with one place where answers are judged: before the client would try again or wrap them.

    Every call ends: by its time, by the size of its answer, or when the line is stopped.
    """

    _is_streaming = False

    def __init__(self, api_key: str, *, endpoint: str, database: str, line: Line) -> None:
        self._address = urlsplit(endpoint)
        self._database = database
        self._line = line
        timeout = urllib3.Timeout(connect=line.connect_timeout, read=line.read_timeout)
        super().__init__(api_key, user_agent="schedctl", endpoint=f"{endpoint}/", timeout=timeout)

    def _init_http(self, http_proxy: str | None = None, **options: Any) -> urllib3.PoolManager:  # noqa: ANN401 - as the client has it
        """Use the proxy that the environment names for this address; the client would take ``$HTTP_PROXY`` for all."""
        del http_proxy
        return limit(super()._init_http(_proxy(self._address.scheme, self._address.hostname or ""), **options))

    def send_request(
        self,
        method: str,
        url: str,
        fields: dict[str, Any] | None = None,
        body: Any = None,  # noqa: ANN401 - as the client has it
        headers: dict[str, str] | None = None,
        **options: Any,  # noqa: ANN401 - as the client has it
    ) -> urllib3.BaseHTTPResponse:
        """Send one request, once, without following a redirect; raises ExportError or JobExistsError.

        The answer is read already; inside a call of the line that goes on, it is still to be read.
        """
        if self._is_streaming:
            return self._sent(method, url, fields, body, headers, options)
        with self._line.call(largest=_LARGEST_ANSWER):
            response = self._sent(method, url, fields, body, headers, options)
            with closing(response), _network(self._address.netloc):
                content = io.BytesIO()
                receive(response.stream(_PIECE, decode_content=True), content.write, largest=_LARGEST_ANSWER)
        content.seek(0)
        return urllib3.HTTPResponse(body=content, status=response.status, preload_content=False)

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Make one call in the block, whose answer is read there."""
        with self._line.call(largest=_LARGEST_RESULT):
            self._is_streaming = True
            try:
                yield
            finally:
                self._is_streaming = False

    def _sent(  # noqa: PLR0917 - what the client sends
        self,
        method: str,
        url: str,
        fields: dict[str, Any] | None,
        body: Any,  # noqa: ANN401 - as the client has it
        headers: dict[str, str] | None,
        options: dict[str, Any],
    ) -> urllib3.BaseHTTPResponse:
        with _network(self._address.netloc):
            response = super().send_request(method, url, fields, body, headers, retries=False, **options)
        if response.status in _SUCCESSES:
            return response
        with closing(response), _network(self._address.netloc):
            content = response.read(_PIECE)
        if response.status == _CONFLICT:
            raise JobExistsError(conflicting_job(content))
        answered = {name.lower(): value for name, value in response.headers.items()}
        raise answer_fault(response.status, content, answered, host=self._address.netloc, database=self._database)


class TreasureData:
    """The few calls that a source makes, each once. All raise ExportError; none shows the key."""

    def __init__(self, api_key: str, *, endpoint: str, database: str, to_end: bool = False) -> None:
        """Raise configuration ``API_KEY_MALFORMED`` for a key that no header can hold.

        A client ``to_end`` jobs has little patience, for a run that was stopped waits for it.
        """
        if not re.fullmatch(r"[!-~]+", api_key):
            raise configuration("API_KEY_MALFORMED", "api_key contains spaces or other characters that no key has")
        self._database = database
        self._host = urlsplit(endpoint).netloc
        self._line = Line(
            connect_timeout=END_SECONDS if to_end else CONNECT_SECONDS,
            read_timeout=END_SECONDS if to_end else READ_SECONDS,
        )
        self._api = _Api(api_key, endpoint=endpoint, database=database, line=self._line)

    def stop(self) -> None:
        """End the call that is made, and refuse all others: they raise ``QUERY_CANCELED``. Never blocks."""
        self._line.stop()

    def close(self) -> None:
        """Give the connections up."""
        self._api.close()

    def issue(self, sql: str, *, engine: str, domain_key: str, options: Mapping[str, object]) -> str:
        """Issue a job and return its id; raises JobExistsError if the key has one. ``options`` are form fields."""
        with self._answers():
            return self._api.query(
                sql,
                type=engine,  # type: ignore[arg-type]  # one of the literals, as the settings have checked
                db=self._database,
                domain_key=domain_key,
                **options,  # type: ignore[arg-type]  # the client names some of them
            )

    def job_of(self, domain_key: str) -> str:
        """Return the id of the job that has the domain key."""
        path = f"/v3/job/status_by_domain_key/{quote(domain_key, safe='')}"
        with self._answers(), self._api.get(path) as response:
            found = self._api.checked_json(response.read(), ["job_id"])
        return str(found["job_id"])

    def status(self, job_id: str) -> str:
        """Return ``queued``, ``booting``, ``running``, ``success``, ``error`` or ``killed``."""
        with self._answers(job_id):
            return str(self._api.job_status(job_id))

    def show(self, job_id: str) -> dict[str, Any]:
        """Return what is known of a job, among it ``hive_result_schema``, ``num_records`` and ``debug``."""
        with self._answers(job_id):
            return dict(self._api.show_job(job_id))

    def kill(self, job_id: str) -> None:
        """End a job that goes on; one that has ended stays as it is."""
        with self._answers():
            self._api.kill(job_id)

    def check(self) -> None:
        """Raise if the key or the database is not known there."""
        with self._answers():
            self._api.list_tables(self._database)

    def download(self, job_id: str, file: IO[bytes]) -> Iterator[None]:
        """Append to ``file`` what of a job's result (``msgpack.gz``) it does not have yet, a piece for each step.

        What comes is kept when the connection breaks, so that the next call goes on from there.
        """
        start = file.tell()
        headers = {"Range": f"bytes={start}-"} if start else {}
        path = f"/v3/job/result/{quote(job_id, safe='')}?format=msgpack.gz"
        try:
            with self._answers(job_id), self._api.streaming(), self._api.get(path, headers=headers) as response:
                if start and not _continues(response, start):
                    _empty(file)
                for piece in response.stream(_PIECE, decode_content=False):
                    file.write(piece)
                    yield
        except ExportError as error:
            if error.code == f"HTTP_{_RANGE_REFUSED}":  # it is not as long as what we have
                _empty(file)
                raise transient(error.code, error.message) from error
            raise

    @contextmanager
    def _answers(self, job_id: str | None = None) -> Iterator[None]:
        """Turn what the client makes of an answer that it cannot read into an ExportError without that answer.

        ``job_id`` is a job that was there a moment or some days ago: that it is not found says nothing of the settings.
        """
        try:
            with _network(self._host):
                yield
        except ExportError as error:
            if job_id is not None and error.code == f"HTTP_{_NOT_FOUND}":
                raise job_gone(job_id) from error
            raise
        except CallStoppedError as error:
            raise query_canceled() from error
        except (
            BrokenAnswerError,
            tdclient.errors.APIError,
            AttributeError,
            KeyError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise transient("UNREADABLE_ANSWER", f"{self._host} answered what is no answer of Treasure Data") from error


@contextmanager
def _network(host: str) -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.SSLError as error:
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            raise configuration("CERTIFICATE_REFUSED", f"The certificate of {host} is not trusted here") from error
        raise transient("CONNECTION_LOST", f"The connection to {host} broke off while it was made safe") from error
    except (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.ReadTimeoutError, TooSlowError) as error:
        if isinstance(error, urllib3.exceptions.NewConnectionError):  # refused, not late, whatever it descends from
            raise _broken(host, error) from error
        raise transient("TIMED_OUT", f"{host} did not answer in time") from error
    except (urllib3.exceptions.HTTPError, ConnectionError) as error:
        raise _broken(host, error) from error


def _broken(host: str, error: Exception) -> ExportError:
    return transient("CONNECTION_LOST", f"The connection to {host} failed: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """Return the system's own word for what went wrong, without addresses of objects."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__


def _continues(response: urllib3.BaseHTTPResponse, start: int) -> bool:
    return response.status == _PARTIAL and response.headers.get("content-range", "").startswith(f"bytes {start}-")


def _empty(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _proxy(scheme: str, host: str) -> str | None:
    """Return the proxy that ``$HTTPS_PROXY`` (or ``$HTTP_PROXY``) names, unless ``$NO_PROXY`` spares the host."""
    if urllib.request.proxy_bypass(host):
        return None
    found = urllib.request.getproxies().get(scheme)
    if found is not None and found.startswith("socks"):
        raise internal("PROXY_NOT_SUPPORTED", "Treasure Data is called through HTTP proxies only")
    return found
