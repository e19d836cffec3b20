"""The notify protocol of systemd: datagrams to the socket in NOTIFY_SOCKET, and nothing where there is none.

Protocol: the sd_notify(3) manual page of systemd.
"""

import os
import socket
import time


def notify(*lines: str) -> None:
    """Send state lines such as ``READY=1``; does nothing outside systemd. A socket that is gone is no error."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address or address[0] not in "/@":
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(name)
            sender.sendall("\n".join(lines).encode())
    except OSError:
        return  # the service manager went away: no reason to stop exporting


def reloading() -> None:
    """Say that a reload begins, with the monotonic time that systemd asks for with it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
