"""The service manager's end of the notify protocol: a real datagram socket, as systemd has it."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

Message = dict[str, str]
DEADLINE = 60.0


class Listener:
    """Receives what is said to NOTIFY_SOCKET, which is ``address``: a path, or an abstract name after an ``@``."""

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self.heard: list[Message] = []
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name)

    def close(self) -> None:
        self._socket.close()

    def next(self, seconds: float = DEADLINE) -> Message | None:
        """Return the next message, its lines by their names; None if there is none in time."""
        self._socket.settimeout(max(seconds, 0.001))
        try:
            text = self._socket.recv(65_536).decode()
        except TimeoutError:
            return None
        message = dict(line.split("=", 1) for line in text.split("\n"))
        self.heard.append(message)
        return message

    def until(self, holds: Callable[[Message], object]) -> Message:
        """Return the first message that comes and ``holds``."""
        limit = time.monotonic() + DEADLINE
        while (message := self.next(limit - time.monotonic())) is not None:
            if holds(message):
                return message
        raise AssertionError(f"no such message came; heard {self.heard[-20:]}")

    def during(self, seconds: float) -> list[Message]:
        """Return all messages of the coming ``seconds``."""
        limit, before = time.monotonic() + seconds, len(self.heard)
        while (left := limit - time.monotonic()) > 0:
            self.next(left)
        return self.heard[before:]
