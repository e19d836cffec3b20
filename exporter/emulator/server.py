"""The emulator over HTTP, on this machine only."""

import gzip
import logging
import re
import signal
import socket
import tempfile
import threading
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from exporter.emulator.fault_injection import CallFault
from exporter.emulator.http import Reply, Request, split_target
from exporter.emulator.org.org import Org, Rights
from exporter.emulator.org.schema_file import load_schema
from exporter.emulator.router import Gate
from exporter.host.signals import Signals, unless_ignored

_log = logging.getLogger("schedctl.emulator")

MAX_BODY = 160_000_000
"""Bytes of a body, decompressed: Bulk API 2.0 takes 150 MB, nothing else comes near."""
_GZIP_FROM = 1024
_LOOPBACK = "127.0.0.1"
_CHUNK = 1 << 20
_LENGTH = re.compile(r"[0-9]{1,12}")


class Emulator:
    """A local Salesforce, served from :meth:`start` (or the ``with`` block) to :meth:`stop`.

    ``state`` is its SQLite file (None: a temporary one, gone at the end); ``schema`` a TOML or JSON file, or the same
    as plain values, added to the standard objects; ``port`` 0 takes a free one. ``clock`` returns aware times.
    ``batch_seconds`` is the least time that a batch takes; ``seed`` decides the org's id and its tokens (None: a random
    one, which stays with the state file). Raises SchemaError, StateInUseError, OSError.
    """

    def __init__(
        self,
        *,
        state: Path | None = None,
        port: int = 0,
        schema: Path | Mapping[str, Any] | None = None,
        client_id: str = "emulator",
        client_secret: str = "secret",  # noqa: S107 - a made-up one, for an org that holds nothing of value
        rights: Rights | None = None,
        clock: Callable[[], datetime] | None = None,
        batch_seconds: float = 0.0,
        seed: int | None = 0,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="emulator-") if state is None else None
        path = state or Path(self._temporary.name if self._temporary else ".") / "org.sqlite"
        try:
            self.org = Org(
                state=path,
                schema=load_schema(schema),
                rights=rights or Rights(client_id=client_id, client_secret=client_secret),
                clock=clock,
                seed=seed,
            )
        except BaseException:
            self._forget()
            raise
        try:
            self._server = _Server((_LOOPBACK, port), _Handler)
        except BaseException:
            self.org.store.close()
            self._forget()
            raise
        self.url = self.org.url = f"http://{_LOOPBACK}:{self._server.server_address[1]}"
        self.gate = self._server.gate = Gate(self.org, batch_seconds=batch_seconds)
        self.faults = self.gate.faults
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="emulator-http", daemon=True
        )

    def start(self) -> Self:
        """Begin to process batches and to answer."""
        self.gate.worker.start()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Finish the batches begun, close connections and the state file; once is enough."""
        if self._server.ending.is_set():
            return
        self._server.ending.set()
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.end_connections()
        self._server.server_close()
        if self._thread.ident is not None:
            self.gate.worker.stop()
        self.org.store.close()
        self._forget()

    def _forget(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(
    *,
    state: Path | None,
    port: int,
    schema: Path | None = None,
    client_id: str = "emulator",
    client_secret: str = "secret",  # noqa: S107 - a made-up one, for an org that holds nothing of value
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM, SIGINT, SIGHUP or SIGQUIT; ``announce`` is called with the URL once calls are answered.

    SIGUSR1 and SIGUSR2 do nothing. Main thread only. Raises what :class:`Emulator` raises.
    """
    ended = threading.Event()
    calls: dict[signal.Signals, Callable[[], None]] = {}
    for number in (signal.SIGTERM, signal.SIGINT, *unless_ignored(signal.SIGHUP, signal.SIGQUIT)):
        calls[number] = ended.set
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        calls[number] = lambda: None
    with (
        Signals(calls),
        Emulator(
            state=state, port=port, schema=schema, client_id=client_id, client_secret=client_secret, seed=None
        ) as emulator,
    ):
        announce(emulator.url)
        ended.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    gate: Gate

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.ending = threading.Event()
        self._open: set[socket.socket] = set()
        self._idle = threading.Condition()
        super().__init__(address, handler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Serve one connection, and know of it while it lasts."""
        with self._idle:
            self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._idle:
                self._open.discard(request)
                self._idle.notify_all()

    def end_connections(self) -> None:
        """Hang up on everyone, and wait until no thread serves any more."""
        with self._idle:
            for each in self._open:
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # it has hung up by itself
            self._idle.wait_for(lambda: not self._open, timeout=30)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Log what ended a connection: clients that break off are part of an emulator's life."""
        del request, client_address
        _log.debug("emulator.connection_ended", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 600.0  # a client that says nothing for so long is gone
    server: _Server

    def do_GET(self) -> None:
        self._exchange()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET  # noqa: N815 - the same

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Keep the base class from writing to stderr."""
        _log.debug(format, *args)

    def _exchange(self) -> None:
        body = self._read_body()
        if body is None:
            return
        try:
            path, query = split_target(self.path)
        except ValueError:
            self._answer(Reply(status=400))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(method=self.command, path=path, query=query, headers=headers, body=body)
        fault = self.server.gate.faults.take_call(request.method, request.path)
        if fault is not None and not request.path.startswith("/_emulator/"):
            self._befall(request, fault)
        else:
            self._answer(self.server.gate.answer(request))

    def _befall(self, request: Request, fault: CallFault) -> None:
        """Answer, or fail to, as a fault has it."""
        if fault.action == "answer":
            body = fault.body.encode()
            self._answer(Reply(status=fault.status, body=body, kind=fault.kind, headers=fault.headers))
            return
        if fault.action in {"slow", "hang"}:
            self.server.ending.wait(fault.seconds)
        if fault.action == "expire":
            self.server.gate.org.expire_sessions()
        reply = None if fault.action in {"drop_before", "hang"} else self.server.gate.answer(request)
        if fault.action in {"slow", "expire"} and reply is not None:
            self._answer(reply)
            return
        if fault.action == "truncate" and reply is not None:
            self._answer(reply, share=0.5)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _read_body(self) -> bytes | None:
        """Return the body, decompressed; None after a refusal."""
        length = self.headers.get("Content-Length", "0")
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        if not _LENGTH.fullmatch(length) or int(length) > MAX_BODY:
            self.close_connection = True
            self._answer(Reply(status=413))
            return None
        body = self._read_chunks() if chunked else self.rfile.read(int(length))
        if not chunked and len(body) < int(length):
            raise ConnectionError("the client hung up in the middle of its request")
        if self.headers.get("Content-Encoding", "").lower() == "gzip":
            try:
                body = _unzip(body)
            except (zlib.error, ValueError):
                self._answer(Reply(status=400))
                return None
        return body

    def _read_chunks(self) -> bytes:
        """Read a chunked body, of at most :data:`MAX_BODY` bytes."""
        parts: list[bytes] = []
        total = 0
        while size := int(self.rfile.readline(_CHUNK).partition(b";")[0], 16):
            total += size
            if size < 0 or total > MAX_BODY:
                raise ConnectionError("the body is too long")
            parts.append(self.rfile.read(size))
            self.rfile.readline(_CHUNK)
        while self.rfile.readline(_CHUNK).strip():
            pass
        return b"".join(parts)

    def _answer(self, reply: Reply, share: float = 1.0) -> None:
        """Send a reply, or that share of its body."""
        body = reply.body
        self.send_response_only(reply.status)
        self.send_header("Date", format_datetime(self._now(), usegmt=True))
        for name, value in reply.headers.items():
            self.send_header(name.replace("_", "-"), value)
        if body:
            self.send_header("Content-Type", reply.kind)
            if len(body) >= _GZIP_FROM and "gzip" in self.headers.get("Accept-Encoding", ""):
                body = gzip.compress(body, 1, mtime=0)
                self.send_header("Content-Encoding", "gzip")
        if reply.status != 204:  # noqa: PLR2004 - HTTP: No Content has no length either
            self.send_header("Content-Length", str(len(body)))
        if self.server.ending.is_set():
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: int(len(body) * share)])
        self.wfile.flush()

    def _now(self) -> datetime:
        return self.server.gate.org.clock().astimezone(UTC)


def _unzip(body: bytes) -> bytes:
    """Decompress gzip, at most :data:`MAX_BODY` bytes of it. Raises zlib.error, ValueError."""
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    found = reader.decompress(body, MAX_BODY)
    if reader.unconsumed_tail or not reader.eof:
        raise ValueError("the gzip body is cut short or too long")
    return found
