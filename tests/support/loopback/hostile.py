"""A server that means ill, or is ill: it does to each connection what a test says, byte by byte."""

import gzip
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Act = Callable[[socket.socket, threading.Event], None]
"""What is done to one connection; the event is set when the server ends."""
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PAUSE = 0.02


class Hostile:
    """Listens on a loopback port; ``came`` is set when the first connection was accepted."""

    def __init__(self, act: Act, context: ssl.SSLContext | None) -> None:
        self._act = act
        self._context = context
        self.came = threading.Event()
        self.ending = threading.Event()
        self._open: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        scheme = "http" if context is None else "https"
        self.port = self.listener.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                self._open.append(peer)
                threading.Thread(target=self._meet, args=(peer,), daemon=True).start()

    def _meet(self, peer: socket.socket) -> None:
        self.came.set()
        with suppress(OSError), peer:
            if self._context is None:
                self._act(peer, self.ending)
            else:
                with self._context.wrap_socket(peer, server_side=True) as inner:
                    self._act(inner, self.ending)

    def end(self) -> None:
        self.ending.set()
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def hostile(act: Act, context: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    """Serve until the block ends."""
    server = Hostile(act, context)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.end()
        thread.join()


def read_request(peer: socket.socket) -> None:
    """Read the head of a request; bodies of tests are short and come with it, or are not read on purpose."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = peer.recv(65536)
        if not piece:
            raise ConnectionError
        head += piece


def answering(*parts: bytes) -> Act:
    """Answer with these bytes and hang up."""

    def act(peer: socket.socket, ending: threading.Event) -> None:
        read_request(peer)
        for part in parts:
            peer.sendall(part)
        del ending

    return act


def dripping(start: bytes, drop: bytes, *, first: bytes = b"") -> Act:
    """Answer with ``start``, and then with ``drop`` now and then, for ever."""

    def act(peer: socket.socket, ending: threading.Event) -> None:
        read_request(peer)
        peer.sendall(first + start)
        while not ending.wait(PAUSE):
            peer.sendall(drop)

    return act


def flooding(start: bytes, more: bytes) -> Act:
    """Answer with ``start``, and then with ``more`` as fast as it is taken, for ever."""

    def act(peer: socket.socket, ending: threading.Event) -> None:
        read_request(peer)
        peer.sendall(start)
        while not ending.is_set():
            peer.sendall(more)

    return act


def silent(peer: socket.socket, ending: threading.Event) -> None:
    """Take the connection, and neither read nor write."""
    del peer
    ending.wait()


def mute(peer: socket.socket, ending: threading.Event) -> None:
    """Read the request, and never answer."""
    read_request(peer)
    ending.wait()


def sipping(peer: socket.socket, ending: threading.Event) -> None:
    """Read the request byte by byte."""
    while not ending.wait(PAUSE):
        if not peer.recv(1):
            return


def dripping_from_the_start(drop: bytes) -> Act:
    """Send ``drop`` now and then without waiting for anything: to a TLS client, or to one that speaks first."""

    def act(peer: socket.socket, ending: threading.Event) -> None:
        while not ending.wait(PAUSE):
            peer.sendall(drop)

    return act


def bomb(size: int, layers: int = 1) -> bytes:
    """Return ``size`` bytes of blanks, compressed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = b" " * min(size, 1 << 20)
    packed = b"".join(packer.compress(piece) for _ in range(size // len(piece))) + packer.flush()
    for _ in range(layers - 1):
        packed = gzip.compress(packed)
    return packed


def within(seconds: float, act: Callable[[], object]) -> None:
    """Do something in a thread, and fail if it does not end."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the test's thread
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it does not end"
    if failures:
        raise failures[0]
