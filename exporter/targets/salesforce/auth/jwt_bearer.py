"""OAuth's JWT bearer grant: a statement signed with the key whose certificate the app knows."""

import time
from dataclasses import replace

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from exporter.failures import ExportError, configuration
from exporter.settings.salesforce import SalesforceConnection
from exporter.targets.salesforce.auth.token_response import Login, ask_token, reveal
from exporter.targets.salesforce.http.http_session import OrgSession

LIFETIME = 180
"""Seconds that a statement is good for: help.salesforce.com, OAuth 2.0 JWT bearer flow."""
_SHORTEST_KEY = 2048
"""Bits, at least: RFC 7518, section 3.3."""


def log_in(session: OrgSession, connection: SalesforceConnection) -> Login:
    """Sign a statement and ask for a token. Raises CallError or ExportError."""
    key = read_key(reveal("private_key", connection.private_key))
    claims = {
        "iss": connection.client_id,
        "sub": connection.username,
        "aud": connection.audience or connection.login_url,
        "exp": int(time.time()) + LIFETIME,
    }
    assertion = jwt.encode(claims, key, algorithm="RS256")
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    return replace(ask_token(session, connection, form).login, username=connection.username)


def read_key(text: str) -> RSAPrivateKey:
    """Read an RSA key in PEM form that has no password. Raises configuration ``PRIVATE_KEY``."""
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except TypeError as error:
        raise _fault("it is encrypted; take the password off with openssl rsa, and keep the file private") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _fault(_why_unreadable(text)) from error
    if not isinstance(key, RSAPrivateKey):
        raise _fault(f"it is no RSA key but {type(key).__name__.removesuffix('PrivateKey')}; Salesforce takes RS256")
    if key.key_size < _SHORTEST_KEY:
        raise _fault(f"it has {key.key_size} bits; RS256 needs {_SHORTEST_KEY}")
    return key


def _why_unreadable(text: str) -> str:
    if "BEGIN CERTIFICATE" in text:
        return "it is a certificate; here belongs the private key, and the certificate into the app"
    if "BEGIN PUBLIC KEY" in text or "BEGIN RSA PUBLIC KEY" in text:
        return "it is a public key; here belongs the private one"
    if "PRIVATE KEY-----\\n" in text:
        return r"its lines end in the two characters \n; give it with real line breaks"
    if "PRIVATE KEY-----" in text:
        return "it cannot be read, as if it were cut short; give the whole file"
    return "it is no key in PEM form (-----BEGIN PRIVATE KEY-----)"


def _fault(words: str) -> ExportError:
    return configuration("PRIVATE_KEY", f"private_key: {words}")
