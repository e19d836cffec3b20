"""What a login leaves behind to be redeemed later: authorization codes and refresh tokens, kept in the state file."""

import base64
import hashlib
import hmac
import json
import sqlite3
from dataclasses import asdict, dataclass

from exporter.emulator.http import RefusalError
from exporter.emulator.org.org import Org

_TABLE = """
CREATE TABLE IF NOT EXISTS sys_grant (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, used_at REAL NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0, data TEXT NOT NULL
)
"""
CODE_SECONDS = 15 * 60.0
MAX_REFRESH_TOKENS = 5
"""Of one user and one app; with one more, the oldest ends without a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What was agreed with the user. ``challenge`` is PKCE's; a ``public`` app redeems without a secret."""

    redirect_uri: str = ""
    challenge: str = ""
    public: bool = False

    def is_answered_by(self, verifier: str) -> bool:
        """Whether it is the PKCE verifier that the challenge was made of (RFC 7636, S256)."""
        digest = hashlib.sha256(verifier.encode()).digest()
        made = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return not self.challenge or hmac.compare_digest(made, self.challenge)


class Grants:
    """Codes and refresh tokens of the org. Methods may be called from any thread."""

    def __init__(self, org: Org) -> None:
        self._org = org
        with org.store.writing() as db:
            db.execute(_TABLE)

    def add_code(self, grant: Grant) -> str:
        """Return a new authorization code: good once, for 15 minutes."""
        with self._org.store.writing() as db:
            return self._add(db, "code", grant)

    def redeem_code(self, token: str) -> Grant:
        """Use up an authorization code. Raises RefusalError ``invalid_grant``."""
        with self._org.store.writing() as db:
            row = _find(db, "code", token)
            if row is None:
                raise RefusalError(400, "invalid_grant", "invalid authorization code")
            _end(db, token)
        if self._org.now() - row["used_at"] > CODE_SECONDS:
            raise RefusalError(400, "invalid_grant", "expired authorization code")
        return Grant(**json.loads(row["data"]))

    def add_refresh(self, grant: Grant) -> str:
        """Return a new refresh token."""
        with self._org.store.writing() as db:
            token = self._add(db, "refresh", grant)
            db.execute(
                "UPDATE sys_grant SET ended = 1 WHERE kind = 'refresh' AND ended = 0 AND number NOT IN "
                "(SELECT number FROM sys_grant WHERE kind = 'refresh' AND ended = 0 ORDER BY number DESC LIMIT ?)",
                (MAX_REFRESH_TOKENS,),
            )
        return token

    def find_refresh(self, token: str) -> Grant:
        """Return what a refresh token stands for. Raises RefusalError ``invalid_grant``."""
        with self._org.store.reading() as db:
            row = _find(db, "refresh", token)
        if row is None or self._org.now() - row["used_at"] > self._org.rights.refresh_seconds:
            raise RefusalError(400, "invalid_grant", "expired access/refresh token")
        return Grant(**json.loads(row["data"]))

    def use_refresh(self, token: str, *, rotate: bool) -> str | None:
        """Note the use of a refresh token; with ``rotate`` it ends here and its successor is returned.

        Raises RefusalError ``invalid_grant`` if it has ended since it was looked up.
        """
        with self._org.store.writing() as db:
            row = _find(db, "refresh", token)
            if row is None:
                raise RefusalError(400, "invalid_grant", "expired access/refresh token")
            if not rotate:
                db.execute("UPDATE sys_grant SET used_at = ? WHERE token = ?", (self._org.now(), token))
                return None
            _end(db, token)
            return self._add(db, "refresh", Grant(**json.loads(row["data"])))

    def revoke(self, token: str) -> bool:
        """End a refresh token; False if there is none like it."""
        with self._org.store.writing() as db:
            return _find(db, "refresh", token) is not None and _end(db, token)

    def _add(self, db: sqlite3.Connection, kind: str, grant: Grant) -> str:
        number = db.execute("SELECT coalesce(max(number), 0) + 1 AS n FROM sys_grant").fetchone()["n"]
        digest = hashlib.sha256(f"{self._org.seed}/{kind}/{number}".encode()).hexdigest()
        token = f"5Aep861{digest}" if kind == "refresh" else f"aPrx{digest}=="
        sql = "INSERT INTO sys_grant (number, token, kind, used_at, data) VALUES (?, ?, ?, ?, ?)"
        db.execute(sql, (number, token, kind, self._org.now(), json.dumps(asdict(grant))))
        return token


def _find(db: sqlite3.Connection, kind: str, token: str) -> sqlite3.Row | None:
    sql = "SELECT used_at, data FROM sys_grant WHERE token = ? AND kind = ? AND ended = 0"
    row: sqlite3.Row | None = db.execute(sql, (token, kind)).fetchone()
    return row


def _end(db: sqlite3.Connection, token: str) -> bool:
    return db.execute("UPDATE sys_grant SET ended = 1 WHERE token = ?", (token,)).rowcount == 1
