"""The org: its schema, its state, its clock and the rules that hold for all of it."""

import hashlib
import hmac
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exporter.emulator.http import RefusalError
from exporter.emulator.org.field_values import write_datetime
from exporter.emulator.org.finding import Desk
from exporter.emulator.org.ids import make_id
from exporter.emulator.org.schema import ObjectType, OrgSchema
from exporter.emulator.org.store import Store, next_number

USER_ID = make_id("005", 1)
USERNAME = "integration@emulator.example"
FIRST_VERSION, LAST_VERSION = 31, 68
"""Of the API: 21 to 30 were retired in summer 2025; Winter '27 is 68."""
_VERSION = re.compile(r"\d{1,3}(?:\.0)?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rights:
    """Who may log in, what the run-as user may do, and how much.

    ``token_needed``: the password alone does not do, as from an address that is not trusted. ``run_as_user``: the app
    has a user for client credentials. ``user_approves``: the user agrees when asked by the web flow. ``jwt_key`` is the
    app's public key, in PEM. ``session_seconds`` is how long an unused session lives (2 hours is Salesforce's default),
    ``refresh_seconds`` the same for a refresh token. ``app_access`` is ``granted``, or why nobody gets in by the app:
    ``not_installed``, ``blocked`` or ``not_approved``. Limits are per rolling 24 hours:
    https://developer.salesforce.com/docs/platform/salesforce-app-limits-cheatsheet
    """

    client_id: str = "emulator"
    client_secret: str = field(default="secret", repr=False)
    username: str = USERNAME
    password: str = field(default="password", repr=False)
    security_token: str = field(default="token", repr=False)
    token_needed: bool = True
    soap_login: bool = True
    run_as_user: bool = True
    pkce_needed: bool = False
    user_approves: bool = True
    app_access: str = "granted"
    rotate_refresh_tokens: bool = False
    jwt_key: str = field(default="", repr=False)
    hard_delete: bool = True
    session_seconds: float = 7200.0
    refresh_seconds: float = 30 * 86_400.0
    batches_a_day: int = 15_000
    calls_a_day: int = 1_000_000

    def admits(self, username: str, password: str) -> bool:
        """Whether a user may come in by this password, with the security token after it or, if none is needed, bare."""
        known = [self.password + self.security_token, *(() if self.token_needed else (self.password,))]
        return username == self.username and any(hmac.compare_digest(password.encode(), one.encode()) for one in known)


class Org:
    """One Salesforce org. Methods may be called from any thread."""

    def __init__(
        self,
        *,
        state: Path,
        schema: OrgSchema,
        rights: Rights | None = None,
        clock: Callable[[], datetime] | None = None,
        seed: int | None = 0,
    ) -> None:
        """Open the org kept in ``state``; ``seed`` decides its id and tokens. Raises StateInUseError, sqlite3.Error.

        With None, that is a random number which stays with the file: no two orgs are then the same.
        """
        self.schema = schema
        self.rights = rights or Rights()
        self.clock = clock or (lambda: datetime.now(UTC))
        self.url = ""
        self.store = Store(state, schema, USER_ID)
        self.seed = self.store.own_seed() if seed is None else seed
        self.org_id = make_id("00D", 1 + self.seed)
        self._calls: deque[tuple[int, int]] = deque()
        self._counting = threading.Lock()
        self._add_user()

    def _add_user(self) -> None:
        with self.store.writing() as db:
            now = write_datetime(self.clock())
            db.execute(
                'INSERT OR IGNORE INTO "User" (Id, Username, LastName, FirstName, Email, CreatedDate, LastModifiedDate)'
                " VALUES (?, ?, 'User', 'Integration', ?, ?, ?)",
                (USER_ID, self.rights.username, self.rights.username, now, now),
            )

    def now(self) -> float:
        """Return the org's time in seconds since 1970."""
        return self.clock().timestamp()

    def object(self, name: str) -> ObjectType:
        """Return an object by name. Raises RefusalError as the REST API words it."""
        found = self.schema.find(name)
        if found is None:
            raise RefusalError(404, "NOT_FOUND", "The requested resource does not exist")
        return found

    @contextmanager
    def desk(self) -> Iterator[Desk]:
        """Give what a write works with, in a transaction that ends with the block."""
        with self.store.writing() as db:
            yield Desk(db=db, schema=self.schema, user=USER_ID, now=write_datetime(self.clock()))

    def count(self, name: str, *, deleted: bool = False) -> int:
        """Count the records of an object, or those in the recycle bin."""
        with self.store.reading() as db:
            sql = f'SELECT count(*) AS n FROM "{self.object(name).name}" WHERE "IsDeleted" = ?'  # noqa: S608 - names of the schema
            return int(db.execute(sql, (int(deleted),)).fetchone()["n"])

    def records(self, name: str, *, deleted: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the records of an object, or those in the recycle bin, in the order of their Ids, as stored.

        Checkboxes are 0 and 1; dates and times are text, in UTC.
        """
        each = self.object(name)
        sql = f'SELECT * FROM "{each.name}" WHERE "IsDeleted" = ? ORDER BY "Id"'  # noqa: S608 - names of the schema
        with self.store.reading() as db:
            for row in db.execute(sql, (int(deleted),)):
                yield {key: row[key] for key in row.keys() if each.field(key)}  # noqa: SIM118 - a Row iterates over values

    # Sessions

    def open_session(self, kind: str) -> str:
        """Open a session and return its token: the same ones in the same order for one seed."""
        with self.store.writing() as db:
            number = next_number(db, "session")
            digest = hashlib.sha256(f"{self.seed}/{number}".encode()).hexdigest()
            token = f"{self.org_id[:15]}!AQ{digest}"
            values = (token, USER_ID, kind, self.now())
            db.execute("INSERT INTO sys_session (token, user, kind, used_at) VALUES (?, ?, ?, ?)", values)
        return token

    def session_alive(self, token: str) -> bool:
        """Whether a token is good; if so, it lives on from now."""
        now = self.now()
        with self.store.reading() as db:
            sql = "SELECT used_at, ended FROM sys_session WHERE token = ? AND kind = 'access'"
            row = db.execute(sql, (token,)).fetchone()
        if row is None or row["ended"] or now - row["used_at"] > self.rights.session_seconds:
            return False
        if now - row["used_at"] > min(60.0, self.rights.session_seconds / 10):
            with self.store.writing() as db:
                db.execute("UPDATE sys_session SET used_at = ? WHERE token = ?", (now, token))
        return True

    def expire_sessions(self) -> int:
        """End all sessions, as an administrator or a short time-out would; return how many there were."""
        with self.store.writing() as db:
            return db.execute("UPDATE sys_session SET ended = 1 WHERE ended = 0 AND kind = 'access'").rowcount

    def check_version(self, text: str) -> float:
        """Return an API version that is served. Raises RefusalError with code ``GONE`` or ``NOT_FOUND``."""
        version = float(text) if _VERSION.fullmatch(text) else 0.0
        if not 0 < version <= LAST_VERSION:
            raise RefusalError(404, "NOT_FOUND", "The requested resource does not exist")
        if version < FIRST_VERSION:
            raise RefusalError(410, "GONE", f"API version {text} is retired")
        return version

    # Limits

    def count_call(self) -> bool:
        """Count an API call of the last 24 hours; False if none is left. Counted since the emulator started."""
        minute = int(self.now() // 60)
        with self._counting:
            self._drop_old_calls(minute)
            if self._total_calls() >= self.rights.calls_a_day:
                return False
            if self._calls and self._calls[-1][0] == minute:
                self._calls[-1] = (minute, self._calls[-1][1] + 1)
            else:
                self._calls.append((minute, 1))
            return True

    def calls_today(self) -> int:
        """Return the number of API calls of the last 24 hours."""
        with self._counting:
            self._drop_old_calls(int(self.now() // 60))
            return self._total_calls()

    def _drop_old_calls(self, minute: int) -> None:
        while self._calls and self._calls[0][0] <= minute - 24 * 60:
            self._calls.popleft()

    def _total_calls(self) -> int:
        return sum(count for _, count in self._calls)
