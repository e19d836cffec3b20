"""The address on this machine that a browser is sent back to when somebody has logged in."""

import errno
import queue
import secrets
import threading
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from exporter.http.server import LimitedServer
from scheduler.errors.operation_error import failed

PATH = "/callback"
_LOOPBACK = "127.0.0.1"
_PAGE = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>schedctl</title>
<body style="font-family: sans-serif; margin: 4em">
<p>{}</p></body></html>
"""
_TAKEN = "schedctl has the answer. Go back to its terminal for what became of it; this window can be closed."
_IGNORED = (
    "This answer belongs to another login: schedctl ignores it and waits on. Open the address that its terminal shows."
)


class Callback:
    """Listens on a loopback port during the ``with`` block. Making one raises OperationError if the port is not free.

    ``url`` is the address for the browser; another machine's browser gets there by ``ssh -L``.
    """

    def __init__(self, port: int) -> None:
        try:
            self._server = _Server((_LOOPBACK, port))
        except OSError as error:
            why = "it is in use" if error.errno == errno.EADDRINUSE else (error.strerror or str(error))
            fix = "choose another with --port (the app's callback URLs have to name it too), or use --no-browser"
            raise failed(f"cannot listen on port {port}: {why}; {fix}") from error
        self.url = callback_url(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def expect(self, state: str) -> None:
        """Listen from now on to whoever knows the ``state``: only the browser that is sent out does.

        All others are told so and ignored: another tab, an older login, a page that tries.
        """
        self._server.state = state

    def wait(self, seconds: float) -> str | None:
        """Return the path and query that the browser came back with, or None if it did not come in time."""
        try:
            return self._server.answers.get(timeout=seconds)
        except queue.Empty:
            return None


def callback_url(port: int) -> str:
    """Return the address that an app has to know for a port."""
    return f"http://localhost:{port}{PATH}"


class _Server(LimitedServer):
    state = ""

    def __init__(self, address: tuple[str, int]) -> None:
        self.answers: queue.Queue[str] = queue.Queue()
        super().__init__(address, _Handler, most=16, seconds=10.0)

    def is_awaited(self, query: str) -> bool:
        """Whether an answer belongs to the login that was begun."""
        given = parse_qs(query).get("state", [""])[0]
        return bool(self.state) and secrets.compare_digest(given.encode(), self.state.encode())


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10.0

    def do_GET(self) -> None:
        """Take the answer; whatever else a browser asks for (an icon) is not here."""
        url = urlsplit(self.path)
        found = url.path == PATH and bool(url.query)
        awaited = found and self.server.is_awaited(url.query)
        content = _PAGE.format(_TAKEN if awaited else _IGNORED).encode() if found else b""
        self.send_response((200 if awaited else 400) if found else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Referrer-Policy", "no-referrer")  # the address holds the code
        self.end_headers()
        self.wfile.write(content)
        if awaited:
            self.server.answers.put(self.path)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Keep the base class from writing the code to stderr."""
