"""A MariaDB server for the tests, installed on the machine (Debian: mariadb-server), in a directory of its own."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pymysql
from support.loopback.network import make_authority

USER, PASSWORD = "reader", "s3cret'\\ü"
AUTHORITY = "ca.pem"
"""The file in the directory of a server that encrypts, to check its certificate with."""
_SOCKET = "mariadb.sock"


class NoMariadbError(Exception):
    """No server is installed."""


class Mariadb:
    """A running server; ``port`` is on loopback, ``socket`` in its directory."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes], port: int) -> None:
        self.directory = directory
        self.port = port
        self.socket = str(directory / _SOCKET)
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def connect(self, database: str | None = None) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """Return a connection of the server's owner."""
        return pymysql.connect(unix_socket=self.socket, user="root", database=database, autocommit=True)

    def version(self) -> str:
        with closing(self.connect()) as connection:
            found = re.match(r"[\d.]+", connection.get_server_info().removeprefix("5.5.5-"))
        return found[0] if found else "?"

    def stop(self) -> None:
        """Stop the server without ceremony and delete all of it."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.directory)


def start(*, encrypted: bool = False) -> Mariadb:
    """Start a server with one account besides its owner's, or raise :class:`NoMariadbError`.

    One that is ``encrypted`` has a certificate for 127.0.0.1, and for no name that leads here.
    """
    server, installer = (_find(name) for name in ("mariadbd", "mariadb-install-db"))
    directory = Path(tempfile.mkdtemp(prefix="schedctl-my-", dir="/tmp"))
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    try:
        if os.geteuid() == 0:
            entry = pwd.getpwnam(user)
            os.chown(directory, entry.pw_uid, entry.pw_gid)
        data = f"--datadir={directory / 'data'}"
        with (directory / "install.log").open("wb") as log:
            subprocess.run(
                [
                    installer,
                    "--no-defaults",
                    data,
                    f"--user={user}",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                ],
                check=True,
                stdout=log,
                stderr=log,
            )
        port = _free_port()
        options = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={directory / _SOCKET}", f"--user={user}"]
        small = [
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M",
            "--skip-name-resolve",
        ]
        if encrypted:
            make_authority(directory, "db.example")
            options += [f"--ssl-cert={directory / 'server.pem'}", f"--ssl-key={directory / 'server.pem'}"]
        with (directory / "server.log").open("wb") as log:
            process = subprocess.Popen(
                [server, "--no-defaults", data, *options, *small], stdout=log, stderr=log, cwd=directory
            )
        running = Mariadb(directory, process, port)
        _wait(running)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return running


def _wait(server: Mariadb) -> None:
    deadline = time.monotonic() + 60
    while not _listens(server.socket):
        if time.monotonic() > deadline or server._process.poll() is not None:
            server._process.kill()
            server._process.wait()
            raise RuntimeError((server.directory / "server.log").read_text(errors="replace"))
        time.sleep(0.02)
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"create user {USER}@'127.0.0.1' identified by %s", (PASSWORD,))
        cursor.execute(f"grant all on *.* to {USER}@'127.0.0.1'")


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _find(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    if found is None:
        raise NoMariadbError("no MariaDB server: install mariadb-server to run these tests")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
