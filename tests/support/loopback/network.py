"""What stands between us and an org, in this process: proxies that count, and TLS with certificates of our own."""

import base64
import datetime as dt
import http.client
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HOP = {"proxy-authorization", "proxy-connection", "connection", "transfer-encoding"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    proxy: "Proxy"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: peers that hang up are part of these tests."""


class Proxy:
    """An HTTP proxy on a loopback port; ``login`` is ``user:password``. ``refuses`` is a status for all CONNECTs."""

    def __init__(self, login: str = "", refuses: int = 0) -> None:
        self.login = login
        self.refuses = refuses
        self.calls: list[str] = []
        self.peers: set[str] = set()
        self.agents: set[str] = set()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.proxy = self
        self.port = self.server.server_address[1]

    def admits(self, header: str | None) -> bool:
        wanted = base64.b64encode(self.login.encode("latin-1")).decode()
        return not self.login or header == f"Basic {wanted}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _is_in(self) -> bool:
        proxy = self.server.proxy
        proxy.calls.append(f"{self.command} {self.path}")
        proxy.peers.add(self.client_address[0])
        status = 0 if proxy.admits(self.headers["Proxy-Authorization"]) else 407
        if status or proxy.refuses:
            self.close_connection = True
            self.send_response_only(status or proxy.refuses)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False
        return True

    def do_CONNECT(self) -> None:
        if not self._is_in():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as upstream:
            self.send_response_only(200)
            self.end_headers()
            pump(self.connection, upstream)
        self.close_connection = True

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self._is_in():
            return
        self.server.proxy.agents.add(self.headers["User-Agent"])
        url = urlsplit(self.path)
        upstream = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        path = f"{url.path}?{url.query}" if url.query else url.path
        upstream.request(self.command, path, body=body, headers=headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {*_HOP, "content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815 - the base class names them

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing."""


@contextmanager
def proxying(login: str = "", refuses: int = 0) -> Iterator[Proxy]:
    """Serve a proxy until the block ends."""
    proxy = Proxy(login, refuses)
    thread = threading.Thread(target=proxy.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
        thread.join()


def pump(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    with suppress(OSError):
        while True:
            if isinstance(one, ssl.SSLSocket) and one.pending():
                ready: list[socket.socket] = [one]
            else:
                ready = select.select([one, other], [], [], 30)[0]
            for each in ready:
                data = each.recv(65536)
                if not data:
                    return
                (other if each is one else one).sendall(data)


class Relay:
    """A loopback address that leads to another port, over TLS if given a context; it notes who called."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self._target = port
        self._context = context
        self.peers: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                caller, address = self.listener.accept()
                self.peers.append(address[0])
                threading.Thread(target=self._carry, args=(caller,), daemon=True).start()

    def _carry(self, caller: socket.socket) -> None:
        with suppress(OSError), caller, socket.create_connection(("127.0.0.1", self._target)) as upstream:
            if self._context is None:
                pump(caller, upstream)
            else:
                with self._context.wrap_socket(caller, server_side=True) as inner:
                    pump(inner, upstream)


@contextmanager
def relaying(port: int, context: ssl.SSLContext | None = None) -> Iterator[Relay]:
    """Serve a relay until the block ends."""
    relay = Relay(port, context)
    thread = threading.Thread(target=relay.serve, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.listener.shutdown(socket.SHUT_RDWR)
        relay.listener.close()
        thread.join()


def make_authority(directory: Path, name: str = "localhost") -> tuple[Path, ssl.SSLContext]:
    """Make a CA and a server's certificate for ``name`` and 127.0.0.1; return the CA's file, and the server's TLS."""
    now = dt.datetime.now(dt.UTC)
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA of this test")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    own_id = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    blank = (
        x509.CertificateBuilder()
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .issuer_name(issuer)
    )
    root = (
        blank.subject_name(issuer)
        .public_key(authority.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(own_id, critical=False)
        .sign(authority, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))])
    leaf = (
        blank.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(server.public_key())
        .serial_number(2)
        .add_extension(names, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id), critical=False)
        .sign(authority, hashes.SHA256())
    )
    pem, clear = serialization.Encoding.PEM, serialization.NoEncryption()
    ca_file, chain = directory / "ca.pem", directory / "server.pem"
    ca_file.write_bytes(root.public_bytes(pem))
    key = server.private_bytes(pem, serialization.PrivateFormat.PKCS8, clear)
    chain.write_bytes(leaf.public_bytes(pem) + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return ca_file, context
