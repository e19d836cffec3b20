"""HTTP calls that end: each has limits of time and of bytes, and another thread can end it. Home of urllib3.

The time-out of a socket counts from one byte to the next: a server that sends a byte now and then would hold a caller
for ever. Here each phase of a call has an end of its own, which is checked before each piece that is sent or received:

- to look up and reach one address, then to agree on TLS and on a proxy's tunnel: ``connect_timeout`` each;
- to send the request: ``read_timeout``, and a second for each :data:`SLOWEST` bytes of it;
- to receive the answer's head, with all that may come before it: ``read_timeout``;
- to receive its body: ``read_timeout``, and a second for each :data:`SLOWEST` bytes that came;
- all of this, where a line has a ``call_timeout``: that, and the same seconds for what is sent and received.
"""

import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError

SLOWEST = 10_000
"""Bytes a second on average, below which a transfer is aborted: 80 kbit/s, a tenth of the slowest DSL line."""
PIECE = 1 << 16
"""Bytes that are sent or received between two checks."""
_LARGEST_HEAD = 1 << 17
"""Bytes of an answer besides its body: status lines, headers, sizes of chunks, trailers."""
_LOOK_AGAIN = 0.1


class CallStoppedError(Exception):
    """The call was ended from this side. Whether the server acted on the request is not known."""


class BrokenAnswerError(Exception):
    """The answer is not HTTP, or has more bytes than an answer of its kind ever has."""


class AnswerTooLargeError(BrokenAnswerError):
    """The second of these."""


class TooSlowError(TimeoutError):
    """A phase of the call took longer than it may."""


class Line:
    """The calls of one client, and how to end them. Thread-safe.

    ``connect_timeout``, ``read_timeout`` and ``call_timeout`` are seconds; a read time-out is also the longest time
    without any byte.
    """

    def __init__(self, *, connect_timeout: float, read_timeout: float, call_timeout: float = float("inf")) -> None:
        self.connect_timeout = connect_timeout
        self.read_timeout = read_timeout
        self.call_timeout = call_timeout
        self._lock = threading.Lock()
        self._calls: set[Call] = set()
        self._stopped = False

    def stop(self) -> None:
        """End the calls that are made, and refuse all others from now on. Never blocks, never raises."""
        with self._lock:
            self._stopped = True
        self.cut()

    def cut(self) -> None:
        """End the calls that are made; others may follow. Never blocks, never raises."""
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.cut()

    @contextmanager
    def call(self, *, largest: int) -> Iterator["Call"]:
        """Make one call in the block, whose answer has at most ``largest`` bytes. Its body is read in the block too.

        Raises CallStoppedError if :meth:`stop` was called, before the block or meanwhile, whatever the block made of
        it: an answer that lasts until the connection ends looks whole when that is cut.
        """
        call = Call(self, largest)
        with self._lock:
            self._calls.add(call)
            if self._stopped:
                call.cut()
        token = _current.set(call)
        try:
            call.check()
            yield call
            call.check()
        except Exception as error:
            if call.is_cut and not isinstance(error, CallStoppedError):
                raise CallStoppedError("the call was stopped") from error
            raise
        finally:
            _current.reset(token)
            with self._lock:
                self._calls.discard(call)
            call.release()


class Call:
    """One call under way: how long its present phase may last, how much may come, and over which socket it goes."""

    def __init__(self, line: Line, largest: int) -> None:
        self.line = line
        self._room = 2 * largest + _LARGEST_HEAD  # compressing may make an answer longer, as do chunks
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._last = self._end = time.monotonic() + line.call_timeout
        self._grows = False
        self.is_cut = False

    def enter(self, seconds: float, *, grows: bool = False) -> None:
        """Begin a phase that may take so long, and longer with each byte that comes if it ``grows``."""
        self._end = min(time.monotonic() + seconds, self._last)
        self._grows = grows

    def extend(self, count: int) -> None:
        """Give the present phase the time that so many bytes may take."""
        self._end += count / SLOWEST
        self._last += count / SLOWEST

    def check(self) -> None:
        """Raise CallStoppedError if the call was ended from this side."""
        if self.is_cut:
            raise CallStoppedError("the call was stopped")

    def left(self) -> float:
        """Return the seconds that are left to the phase, more than 0. Raises CallStoppedError or TooSlowError."""
        self.check()
        left = self._end - time.monotonic()
        if left <= 0:
            raise TooSlowError("the server is too slow")
        return left

    def take(self, count: int) -> None:
        """Count bytes that came. Raises AnswerTooLargeError."""
        self._room -= count
        if self._room < 0:
            raise AnswerTooLargeError("the answer does not end")
        if self._grows:
            self.extend(count)

    def hold(self, handle: socket.socket) -> None:
        """Use this connection: a copy of its socket is kept, for TLS and the pool change or close their own."""
        with self._lock:
            if self._handle is not None:
                self._handle.close()
            self._handle = handle.dup()
            if self.is_cut:
                _shut(self._handle)

    def release(self) -> None:
        """Leave the connection alone from now on."""
        with self._lock:
            if self._handle is not None:
                self._handle.close()
            self._handle = None

    def cut(self) -> None:
        """End the connection, from any thread: whoever waits for it goes on at once."""
        with self._lock:
            self.is_cut = True
            if self._handle is not None:
                _shut(self._handle)


_current: ContextVar[Call | None] = ContextVar("the call that this thread makes", default=None)


def _shut(handle: socket.socket) -> None:
    with suppress(OSError):  # the server was quicker
        handle.shutdown(socket.SHUT_RDWR)


class _Received(io.RawIOBase):
    """What a server sends, as far as the call's limits let it."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, call: Call) -> None:
        self._raw = raw
        self._sock = sock
        self._call = call
        self._patience = sock.gettimeout() or call.line.read_timeout
        super().__init__()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - as the base class has it
        self._sock.settimeout(min(self._patience, self._call.left()))
        count = self._raw.readinto(buffer)
        self._call.take(count or 0)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as the base class has it
        super().__init__(sock, *args, **options)
        call = _current.get()
        if call is not None:
            self.fp = io.BufferedReader(_Received(self.fp.detach(), sock, call))


class _Limited(HTTPConnection):
    """A connection that keeps to the limits of the call that its thread makes; without one it is like any other."""

    response_class = _Response
    _handle: socket.socket | None = None
    _late: threading.Timer | None = None
    _is_late = False

    def connect(self) -> None:
        """Connect, and agree on TLS and tunnels. Raises what the base class raises, CallStoppedError, TooSlowError."""
        call = _current.get()
        self._is_late = False
        try:
            super().connect()
        except Exception as error:
            if self._is_late:
                raise ConnectTimeoutError(self, f"Connection to {self.host} timed out") from error
            raise
        finally:
            if self._late is not None:
                self._late.cancel()
                self._late = None
        if call is not None:
            call.enter(call.line.read_timeout)

    def _new_conn(self) -> socket.socket:
        """Do as the base class does, address by address, but let a stop end it at any time."""
        call = _current.get()
        if call is None:
            return super()._new_conn()
        call.enter(call.line.connect_timeout)
        try:
            sock = self._reach(call)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError as error:
            raise LocationParseError(f"'{self.host}', label empty or too long") from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"Connection to {self.host} timed out") from error
        except OSError as error:
            raise NewConnectionError(self, f"Failed to establish a new connection: {error}") from error
        if self._handle is not None:
            self._handle.close()
        self._handle = sock.dup()
        call.enter(call.line.connect_timeout)
        # TLS inside TLS counts its time-out from byte to byte, so that only a clock of its own ends it.
        self._late = threading.Timer(call.line.connect_timeout, self._end_late)
        self._late.daemon = True
        self._late.start()
        return sock

    def _reach(self, call: Call) -> socket.socket:
        """Return a socket that is connected to the first address of the host that answers. Raises OSError."""
        failure: OSError | None = None
        for family, kind, protocol, _, address in _look_up(self._dns_host.strip("[]"), self.port, call):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                if self.source_address:
                    sock.bind(self.source_address)
                call.hold(sock)
                call.enter(call.line.connect_timeout)
                sock.settimeout(min(self.timeout or call.line.connect_timeout, call.line.connect_timeout))
                sock.connect(address)
                call.check()  # the connect that is cut looks as if it had gone well
            except OSError as error:
                sock.close()
                call.check()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure or OSError("the host has no address")

    def _tunnel(self) -> None:
        """Have a proxy make a tunnel. Its answer that was cut looks whole: nothing more is sent then."""
        super()._tunnel()
        call = _current.get()
        if call is not None:
            call.check()
        if self._is_late:
            raise TooSlowError("the proxy is too slow")

    def _end_late(self) -> None:
        self._is_late = True
        if self._handle is not None:
            _shut(self._handle)

    def request(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Send a request, over the connection that there is or over a new one."""
        call = _current.get()
        if call is not None and self._handle is not None:
            call.hold(self._handle)
            call.enter(call.line.read_timeout)
        super().request(*args, **options)

    def send(self, data: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Send bytes piece by piece. Raises CallStoppedError or TooSlowError if the server does not take them."""
        call = _current.get()
        if call is None or not isinstance(data, bytes):
            super().send(data)
            return
        if self.sock is None:
            self.connect()
        call.extend(len(data))
        view = memoryview(data)
        for start in range(0, len(data), PIECE):
            self.sock.settimeout(call.left())
            try:
                super().send(view[start : start + PIECE])
            except TimeoutError as error:
                raise TooSlowError("the server does not take what it is sent") from error

    def getresponse(self) -> Any:  # noqa: ANN401 - as the base class has it
        """Receive the head of the answer; its body has its own time."""
        call = _current.get()
        if call is None:
            return super().getresponse()
        call.enter(call.line.read_timeout)
        answer = super().getresponse()
        call.enter(call.line.read_timeout, grows=True)
        return answer

    def close(self) -> None:
        """Close the connection, and our copy of its socket, without which it would stay open."""
        super().close()
        if self._handle is not None:
            self._handle.close()
            self._handle = None


class _LimitedTls(_Limited, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Limited


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _LimitedTls


def limit(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """Have a pool make only connections that keep to the limits of calls; returns it. SOCKS proxies have their own."""
    if type(manager) in {urllib3.PoolManager, urllib3.ProxyManager}:
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager


def limit_others() -> None:
    """Have the pools that other libraries make keep to the limits too, in the calls of a line, and in no others."""
    HTTPConnectionPool.ConnectionCls = _Limited
    HTTPSConnectionPool.ConnectionCls = _LimitedTls


def receive(pieces: Iterator[bytes], write: Callable[[bytes], object], *, largest: int) -> int:
    """Write the pieces of a decompressed answer; returns their bytes. Raises BrokenAnswerError.

    More than ``largest`` bytes are an AnswerTooLargeError.
    """
    count = 0
    while True:
        try:
            piece = next(pieces, None)
        except ValueError as error:  # http.client on a chunk of a negative size
            raise BrokenAnswerError("the answer is not HTTP") from error
        if piece is None:
            return count
        count += len(piece)
        if count > largest:
            raise AnswerTooLargeError(f"the answer is larger than {largest:,} bytes")
        write(piece)


def _look_up(host: str, port: int, call: Call) -> list[Any]:
    """Return what getaddrinfo says of a host. It cannot be ended, so it has a thread, which may be left behind."""
    found: list[Any] = []
    failed: list[BaseException] = []

    def look() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failed.append(error)

    thread = threading.Thread(target=look, name="name look-up", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(min(_LOOK_AGAIN, call.left()))
    if failed:
        raise failed[0]
    return found
