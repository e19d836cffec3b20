"""What connections say, as digests by which one can tell later which of their keys changed. Pure.

A digest is an HMAC-SHA-256 with a random key of 256 bits. The digests lie in the state database, the key in a file
outside of it, so that a copy of the database alone (a backup, a dump, a replica) holds nothing to try guesses against,
however weak a secret is. Who has both can try guesses, one HMAC each; but that file lies in the state directory, beside
refresh tokens in the clear and spooled rows, and only its owner can read it. A slow hash instead of a key would leave a
weak secret to whoever has the database, and cost the daemon as much as the guesser.
"""

import hmac
import json
from collections.abc import Iterator, Mapping, Sequence

from pydantic import SecretStr

from exporter.settings.base import SecretReference
from exporter.settings.connection import Connection

Digests = Mapping[str, str]
"""By key of a connection (``retry_limit``, ``options.account``): the digest of what the config file says; and by key
with VALUE behind it: that of what a reference or a file of certificates stands for.

A digest behind UNKNOWN is the last that was known of a value that could not be looked up.
"""
VALUE = " (its value)"
UNKNOWN = "?"
GONE = "gone"
"""The key that a connection has, beside those that it had, while the config file does not have it."""


def settings_of(connection: Connection) -> Iterator[tuple[str, object]]:
    """Yield the keys of a connection that are not at their default, with their values; keys of tables one by one."""
    for key, field in type(connection).model_fields.items():
        value = getattr(connection, key)
        if isinstance(value, Mapping):
            yield from ((f"{key}.{name}", each) for name, each in value.items())
        elif value != field.default:
            yield key, value


def digest(key: bytes, *parts: str) -> str:
    """Return the digest of ``parts``, 128 bits in hexadecimal."""
    return hmac.digest(key, json.dumps(parts).encode(), "sha256")[:16].hex()


def as_text(value: object) -> str:
    """Return what distinguishes one value of a key from another: plain secrets in the clear, references as written."""
    if isinstance(value, SecretStr):
        return f"secret {value.get_secret_value()}"
    if isinstance(value, SecretReference):
        return f"reference {value}"
    return json.dumps(value)


def compare(before: Digests | None, now: Mapping[str, str | None]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return which keys of a connection changed, and the digests to keep.

    ``now`` has None for a value that cannot be looked up: that is no change, but that it can be looked up again is one.
    So it is if a connection is there again: the key is then GONE. With nothing to compare with, nothing changed.
    """
    kept = {key: value if value is not None else _unknown(key, before or {}) for key, value in now.items()}
    if before is None:
        return (), kept
    changed = {key for key, value in now.items() if value is not None and before.get(key) != value}
    changed |= before.keys() - now.keys()
    return tuple(sorted({key.removesuffix(VALUE) for key in changed})), kept


def _unknown(key: str, before: Digests) -> str:
    return UNKNOWN + before.get(key, "").removeprefix(UNKNOWN)


def words(name: str, keys: Sequence[str]) -> str:
    """Say in a line how a connection changed."""
    if keys == (GONE,):
        return f"connection {name} is in the config file again"
    return f"connection {name} changed: {', '.join(key for key in keys if key != GONE)}"
