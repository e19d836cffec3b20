"""Servers that drip, flood, swell or never end: every call has an end, and a stop ends it at once."""

import gzip
import random
import resource
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from support.loopback.hostile import (
    OK,
    Act,
    answering,
    bomb,
    dripping,
    dripping_from_the_start,
    flooding,
    hostile,
    mute,
    read_request,
    silent,
    sipping,
    within,
)
from support.loopback.network import make_authority
from support.runs.exports import (
    ListLedger,
    QuickControl,
    make_connection,
    make_context,
    make_spool,
    make_target,
    people,
)
from support.salesforce.small_org import Fault, small_org

from exporter.failures import ExportError
from exporter.http import calls
from exporter.http.calls import CallStoppedError
from exporter.targets.salesforce import target
from exporter.targets.salesforce.api.client import Backoff, Client
from exporter.targets.salesforce.http.error_codes import Where
from exporter.targets.salesforce.http.http_session import CallError, OrgSession, Received, diagnosing
from scheduler.runs.cancellation import RunControl, RunStopped, StopReason

SOON = 20.0
"""Seconds until a test fails that waits for what has to happen at once."""
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPS: dict[str, Act] = {
    "a body by its length": dripping(OK + b"Content-Length: 100000\r\n\r\n", b" "),
    "a body until the end": dripping(OK + b"Connection: close\r\n\r\n", b" "),
    "chunks of one byte": dripping(CHUNKED, b"1\r\n \r\n"),
    "the size of a chunk": dripping(CHUNKED, b"0"),
    "trailers": dripping(CHUNKED + b"0\r\n", b"X-A: b\r\n"),
    "a header": dripping(OK + b"X-Long: ", b"x"),
    "headers": dripping(OK, b"X-Many: 1\r\n"),
    "the status line": dripping(b"HTTP/1.1 200 ", b"x"),
    "answers before the answer": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "nothing": mute,
    "a body of gzip": dripping(OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + bomb(10)[:10], b"\x00"),
    "an error": dripping(b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n", b" "),
    "a redirect": dripping(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 100000\r\n\r\n", b" "),
}
FLOODS: dict[str, Act] = {
    "a body until the end": flooding(OK + b"Connection: close\r\n\r\n", b" " * 65536),
    "a long body": flooding(OK + b"Content-Length: 99999999999\r\n\r\n", b" " * 65536),
    "chunks": flooding(CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"),
    "chunks of one byte": flooding(CHUNKED, b"1\r\n \r\n" * 10_000),
    "the size of a chunk": flooding(CHUNKED, b"0" * 65536),
    "trailers": flooding(CHUNKED + b"0\r\n", b"X-A: b\r\n" * 8192),
    "a header": flooding(OK + b"X-Long: ", b"x" * 65536),
    "headers": flooding(OK, b"X-Many: 1\r\n" * 8192),
    "the status line": flooding(b"HTTP/1.1 200 ", b"x" * 65536),
    "answers before the answer": flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
}


def session_for(url: str, *, seconds: float = 0.4, **settings: Any) -> OrgSession:
    connection = make_connection(url).model_copy(update={"connect_timeout": seconds, "read_timeout": seconds})
    return OrgSession(connection.model_copy(update=settings))


def refused(session: OrgSession, url: str, body: bytes | None = None) -> CallError:
    """Make a call that fails, and return how."""
    with session, pytest.raises(CallError) as caught, diagnosing(Where.CALL, "the org"):
        session.exchange("GET" if body is None else "POST", f"{url}/services/x", body=body)
    return caught.value


@pytest.mark.parametrize("drip", DRIPS)
def test_an_answer_that_drips_is_given_up(drip: str) -> None:
    def call() -> None:
        error = refused(session_for(server.url), server.url)
        assert (error.code, error.received) == ("READ_TIMEOUT", Received.MAYBE)

    with hostile(DRIPS[drip]) as server:
        within(SOON, call)


@pytest.mark.parametrize("flood", FLOODS)
def test_an_answer_that_never_ends_is_given_up_in_little_memory(flood: str) -> None:
    def call() -> None:
        error = refused(session_for(server.url, seconds=10), server.url)
        assert error.code in {"UNREADABLE_ANSWER", "CONNECTION_LOST", "TRUNCATED_ANSWER"}

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with hostile(FLOODS[flood]) as server:
        within(SOON, call)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_compressed_answer_is_measured_as_it_is_without_that(layers: int) -> None:
    packed = bomb(400_000_000, layers)
    head = OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (b", ".join([b"gzip"] * layers), len(packed))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for status in (b"200 OK", b"500 No", b"302 Found"):
        with hostile(answering(head.replace(b"200 OK", status), packed)) as server:
            error = refused(session_for(server.url, seconds=10), server.url)
        expected = {b"200 OK": "UNREADABLE_ANSWER", b"500 No": "HTTP_500", b"302 Found": "REDIRECTED"}
        assert error.code == expected[status]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Encoding: gzip\r\n", b"{}"),
        (b"Content-Encoding: gzip, gzip\r\n", gzip.compress(b"{}", mtime=0)),
        (b"Content-Encoding: " + b", ".join([b"gzip"] * 100) + b"\r\n", b"{}"),
        (b"Content-Length: 50\r\n", b"{}"),
        (b"Content-Length: 1\r\nContent-Length: 2\r\n", b"{}"),
        (b"Transfer-Encoding: chunked\r\n", b"{}"),
        (b"Transfer-Encoding: chunked\r\n", b"-1\r\n{}\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"-5\r\n{}\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\n{}"),
        (b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffffffffffff\r\n{}"),
    ],
)
def test_an_answer_that_is_not_what_its_head_says_is_a_failure_that_may_pass(head: bytes, body: bytes) -> None:
    with hostile(answering(OK + head + b"\r\n" + body)) as server:
        error = refused(session_for(server.url), server.url)
    assert error.code in {"TRUNCATED_ANSWER", "CONNECTION_LOST", "UNREADABLE_ANSWER"}
    assert error.received is Received.MAYBE


@pytest.mark.parametrize(
    "headers",
    [
        b"Location: http://[::1\r\n",
        b"Location: \xff\xfe\r\n",
        b"Location: //[\r\nRetry-After: 5\r\n",
        b"Retry-After: " + b"9" * 5000 + b"\r\n",
        b"Retry-After: -1\r\nDate: Mon, 99 Jan 99999 00:00:00 +99999999\r\n",
        b"Date: Mon, 01 Jan 99999999999999999999 00:00:00 GMT\r\n",
        b"Set-Cookie: \xff=\x01; expires=Mon, 99 Jan 99999 00:00:00 GMT\r\n",
        b"Content-Type: text/html; charset=\xff\r\n",
        b"Sforce-Limit-Info: api-usage=" + b"9" * 5000 + b"/1\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n",
        b"no colon at all\r\n",
    ],
)
@pytest.mark.parametrize("status", [b"302 Found", b"503 No", b"429 No", b"401 No"])
def test_odd_headers_of_a_refusal_are_a_failure_with_a_code(status: bytes, headers: bytes) -> None:
    with hostile(answering(b"HTTP/1.1 " + status + b"\r\n" + headers + b"Connection: close\r\n\r\n")) as server:
        error = refused(session_for(server.url), server.url)
    assert error.code
    assert error.outward().message


@pytest.mark.parametrize("act", [silent, sipping])
def test_a_server_that_does_not_read_what_it_is_sent_is_given_up(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "SLOWEST", 100_000_000)

    def call() -> None:
        error = refused(session_for(server.url), server.url, bytes(20_000_000))
        assert (error.code, error.received) == ("READ_TIMEOUT", Received.MAYBE)

    with hostile(act) as server:
        within(SOON, call)


def test_a_slow_answer_has_the_time_that_its_bytes_take() -> None:
    """A second for every 10,000 bytes: what comes faster is read to its end, however long it takes."""
    whole = b" " * 60_000
    pieces = [whole[at : at + 2000] for at in range(0, len(whole), 2000)]

    def act(peer: socket.socket, ending: threading.Event) -> None:
        read_request(peer)
        peer.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(whole))
        for piece in pieces:
            ending.wait(0.03)
            peer.sendall(piece)

    with hostile(act) as server, session_for(server.url, seconds=0.3) as session:
        assert session.exchange("GET", f"{server.url}/x").content == whole


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    ca_file, context = make_authority(tmp_path)
    return {"ca_file": str(ca_file), "context": context}


@pytest.mark.parametrize("drop", [b"\x16", b"\x16\x03\x03\x00\x04\x00\x00\x00\x00", b""])
def test_a_handshake_that_does_not_end_is_given_up(drop: bytes) -> None:
    act = dripping_from_the_start(drop) if drop else silent
    with hostile(act) as server:
        url = server.url.replace("http:", "https:")
        within(SOON, lambda: refused(session_for(url), url))


@pytest.mark.parametrize("drop", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.0 200 OK\r\nX: y\r\n", b""])
def test_a_proxy_that_drips_is_given_up(drop: bytes) -> None:
    act = dripping_from_the_start(drop) if drop else mute
    with hostile(act) as proxy:
        settings = {"proxy": SecretStr(proxy.url)}
        for url in ("https://o.my.salesforce.com", "http://127.0.0.1:9"):
            within(SOON, lambda url=url: refused(session_for(url, **settings), url))


def test_an_answer_over_tls_that_drips_is_given_up(tls: dict[str, Any]) -> None:
    act = dripping(OK + b"Content-Length: 100000\r\n\r\n", b" ")
    with hostile(act, tls["context"]) as server:
        session = session_for(server.url, ca_file=tls["ca_file"])
        within(SOON, lambda: refused(session, server.url))


STOPPED: dict[str, tuple[Act, bytes | None]] = {
    **{name: (act, None) for name, act in DRIPS.items()},
    "an upload that nobody reads": (silent, bytes(20_000_000)),
    "an upload that is read byte by byte": (sipping, bytes(20_000_000)),
}
"""What is going on when a call is stopped: the server's part, and the body of the call."""


def calling(url: str, control: RunControl, body: bytes | None = None, **settings: Any) -> None:
    """Make a call that has all the time of the world, for a run that is stopped meanwhile."""
    given = {"auth": "session_id", "session_id": SecretStr("x"), "client_id": None, "client_secret": None}
    connection = make_connection(url, **given, connect_timeout=3600, read_timeout=3600).model_copy(update=settings)
    client = Client(
        connection,
        api_version="62.0",
        make_backoff=lambda: Backoff(initial_delay=0, limit=5, spread=random.Random(1)),
        control=control,
        listen=lambda _event: None,
    )
    with client, pytest.raises(RunStopped):
        client.call(lambda org, session: session.exchange("POST", org.bulk_url, body=body))


def stopping(came: threading.Event, control: RunControl) -> None:
    """Stop the run from another thread, a moment after the server was called."""

    def stop() -> None:
        came.wait(SOON)
        time.sleep(0.1)  # wherever the call is then, it has to end; this only makes it likely that it waits
        control.stop(StopReason.CANCELED)

    threading.Thread(target=stop, daemon=True).start()


@pytest.mark.parametrize("going_on", STOPPED)
def test_a_stop_ends_a_call_at_once(going_on: str) -> None:
    act, body = STOPPED[going_on]
    control = RunControl(timeout=3600)
    with hostile(act) as server:
        stopping(server.came, control)
        within(SOON, lambda: calling(server.url, control, body))


@pytest.mark.parametrize("kind", ["handshake", "tunnel", "TLS"])
def test_a_stop_ends_a_handshake_and_a_call_through_a_proxy_or_over_tls(kind: str, tls: dict[str, Any]) -> None:
    control = RunControl(timeout=3600)
    with hostile(mute, tls["context"] if kind == "TLS" else None) as server:
        url, settings = f"https://127.0.0.1:{server.port}", {"ca_file": tls["ca_file"]}
        if kind == "tunnel":
            url, settings = "https://o.my.salesforce.com", {"proxy": SecretStr(server.url)}
        stopping(server.came, control)
        within(SOON, lambda: calling(url, control, **settings))


def test_a_stop_ends_a_connect_that_nobody_takes() -> None:
    control = RunControl(timeout=3600)
    with socket.socket() as listener, ExitStack() as callers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # its queue is full: the next SYN is not answered
            caller = callers.enter_context(socket.socket())
            caller.setblocking(False)  # noqa: FBT003 - the socket's own call
            caller.connect_ex(listener.getsockname())
        stopping(ready(), control)
        within(SOON, lambda: calling(f"http://127.0.0.1:{listener.getsockname()[1]}", control))


def test_a_stop_ends_the_look_up_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, over = threading.Event(), threading.Event()

    def look_up(*_arguments: object, **_options: object) -> list[Any]:
        asked.set()
        over.wait()
        return []

    monkeypatch.setattr(calls.socket, "getaddrinfo", look_up)
    control = RunControl(timeout=3600)
    stopping(asked, control)
    within(SOON, lambda: calling("https://o.my.salesforce.com", control))
    over.set()


def test_a_run_whose_time_is_over_ends_a_call_without_being_asked() -> None:
    """The daemon looks at the clocks of its runs every second; the call itself asks nobody."""
    control = RunControl(timeout=0.5)
    with hostile(mute) as server:
        clock = threading.Thread(target=lambda: [time.sleep(0.1) or control.tick() for _ in range(200)], daemon=True)
        clock.start()
        within(SOON, lambda: calling(server.url, control))


def test_after_a_stop_no_call_is_begun() -> None:
    control = RunControl(timeout=3600)
    with hostile(mute) as server:
        session = session_for(server.url)
        control.on_stop(session.line.stop)
        control.stop(StopReason.CANCELED)
        error = refused(session, server.url)
        assert error.code == "CALL_STOPPED"
        assert not server.came.is_set()


def test_an_answer_that_lasts_until_the_end_is_not_taken_for_whole_when_it_was_cut() -> None:
    with (
        hostile(dripping(OK + b"Connection: close\r\n\r\n", b" ")) as server,
        session_for(server.url, seconds=60) as session,
    ):
        stop = threading.Thread(target=lambda: (server.came.wait(SOON), time.sleep(0.1), session.line.cut()))
        stop.start()
        with pytest.raises(CallStoppedError):
            session.exchange("GET", f"{server.url}/x")
        stop.join()


def ready() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


HANGING = {
    "the login": r"/oauth2/token",
    "the abort": r"POST .*/job/\w+$",
    "a list": r"GET .*/batch$",
    "a result": "/result",
}


@pytest.mark.parametrize("call", HANGING)
def test_a_stop_waits_for_no_call_that_hangs_whatever_the_time_outs_are(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancel waited for read_timeout, which is two minutes, and as often as a call is retried."""
    monkeypatch.setattr(target, "STOP_SECONDS", 0.5)
    connection = {"read_timeout": 300, "connect_timeout": 300, "retry_limit": 5}
    spool, ledger = make_spool(tmp_path / "s", people(4)), ListLedger()
    with small_org() as org:
        org.faults.append(Fault(pattern="GET .*/batch$", how="drop", at=frozenset(range(1, 100))))
        with pytest.raises(ExportError):
            make_target(org.url).export(spool, make_context(ledger, control=QuickControl()))
        org.faults[:] = [Fault(pattern=HANGING[call], how="hang", at=frozenset(range(1, 100)))]

        def stop() -> None:
            control = RunControl(timeout=60)
            with pytest.raises(ExportError, match="READ_TIMEOUT"):
                make_target(org.url, connection=connection).abort(spool, make_context(ledger, control=control))

        within(SOON, stop)
        assert ledger.steps().count("batch.settled") == (2 if call == "the abort" else 0)
        org.faults.clear()
        make_target(org.url).abort(spool, make_context(ledger))
        assert ledger.steps().count("batch.settled") == 2


def test_a_call_with_an_end_of_its_own_is_not_dripped_through_its_phases() -> None:
    head = OK + b"".join(b"X-%d: 1\r\n" % number for number in range(20))

    def act(peer: socket.socket, ending: threading.Event) -> None:
        read_request(peer)
        for piece in (head, b"Content-Length: 100000\r\n", b"\r\n", *[b" "] * 10_000):
            peer.sendall(piece)
            if ending.wait(0.3):
                return

    def call() -> None:
        connection = make_connection(server.url).model_copy(update={"connect_timeout": 60, "read_timeout": 60})
        error = refused(OrgSession(connection, call_timeout=1.0), server.url)
        assert (error.code, error.received) == ("READ_TIMEOUT", Received.MAYBE)

    with hostile(act) as server:
        within(SOON, call)
