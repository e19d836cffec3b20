"""A small HTTP server for few callers, none of which can hold it up: by being many, or by being slow."""

import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class LimitedServer(ThreadingHTTPServer):
    """Serves at most ``most`` connections at once, each for ``seconds`` at the longest; the others get a 503.

    ``failed`` is reported what went wrong with one, in the thread that served it.
    """

    daemon_threads = True
    block_on_close = False  # callers open connections that they never use
    request_queue_size = 128  # of the kernel's, not ours: who does not fit in waits a second

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[BaseHTTPRequestHandler],
        *,
        most: int,
        seconds: float,
        failed: Callable[[BaseException], None] = lambda _error: None,
    ) -> None:
        """Listen. Raises OSError."""
        self._free = threading.BoundedSemaphore(most)
        self._seconds = seconds
        self._failed = failed
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind, without the look-up of the machine's name that the base class makes: it may take minutes."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment] # a str for these families

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Serve a connection in a thread of its own, if there is room."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.settimeout(0)
            request.send(_BUSY)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the same
        """Serve one connection until its time is over."""
        limit = threading.Timer(self._seconds, _hang_up, (request,))
        limit.daemon = True
        limit.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            limit.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the same
        """Pass on what went wrong; the base class would write it to stderr."""
        del request, client_address
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):  # callers hang up, are late, and are hung up on
            self._failed(error)


def _hang_up(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
