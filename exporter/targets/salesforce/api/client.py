"""Calls to one org: logged in when needed, tried again when that may help, stopped when the run has to stop."""

import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

from simple_salesforce.api import Salesforce

from exporter.events import Listener, Retrying
from exporter.failures import ExportError
from exporter.ledger import Control
from exporter.settings.connection import SalesforceConnection
from exporter.targets.salesforce.auth.advice import renewal_refused
from exporter.targets.salesforce.auth.log_in import Login, can_renew, log_in
from exporter.targets.salesforce.http.error_codes import Rule, Verdict, Where
from exporter.targets.salesforce.http.http_session import CallError, OrgSession, Received, diagnosing, open_org

Result = TypeVar("Result")

LONGEST_DELAY = 300.0
"""Seconds after which a delay grows no more; an org that asks for a longer one gets it from the run's next attempt."""

RENEWALS = 2
"""New logins for one call: the first at once, the next after a pause. A session may end right after its login, by an
administrator or a limit of sessions; three in a row are not chance."""


class Backoff:
    """How long to wait before each retry of one call, and when to stop trying."""

    def __init__(
        self, *, initial_delay: float, limit: int, spread: random.Random, patience: float = float("inf")
    ) -> None:
        """``patience`` is how many seconds from now on a try may begin."""
        self._initial_delay = initial_delay
        self._limit = limit
        self._spread = spread
        self._tries = 0
        self._until = time.monotonic() + patience

    def delay(self, retry_after: float | None) -> float | None:
        """Return the seconds to wait before the next try, or None if there is none."""
        if self._tries >= self._limit or (retry_after or 0) > LONGEST_DELAY:
            return None
        grown = min(LONGEST_DELAY, self._initial_delay * 2.0**self._tries)
        self._tries += 1
        seconds = max(grown * self._spread.uniform(0.5, 1.5), retry_after or 0)
        return seconds if time.monotonic() + seconds < self._until else None


class Client:
    """One org for the time of one export. A context manager, for it keeps connections open; thread-safe.

    Every method raises ExportError, or what ``control`` raises: at once if it stops while a call is made.
    """

    def __init__(
        self,
        connection: SalesforceConnection,
        *,
        api_version: str,
        make_backoff: Callable[[], Backoff],
        control: Control,
        listen: Listener,
        login: Login | None = None,
        call_timeout: float = float("inf"),
    ) -> None:
        """``login`` is one that may still be good; another follows where it is not. ``call_timeout`` is in seconds."""
        self._connection = connection
        self._api_version = api_version
        self._make_backoff = make_backoff
        self._control = control
        self._listen = listen
        self._session = OrgSession(connection, listen, call_timeout=call_timeout)
        control.on_stop(self._session.line.stop)
        self._lock = threading.Lock()
        self._org: Salesforce | None = None
        self._login = login

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session.close()  # the connections only: the token is shared by all sessions of the user

    @property
    def login(self) -> Login | None:
        """The login in use, for a later client of the same run; None before the first call."""
        return self._login

    def org_id(self) -> str | None:
        """Return the id of the org that calls go to, logging in if needed; None where the login does not tell it."""
        self._logged_in()
        return self._login.org_id if self._login is not None else None

    def check(self) -> None:
        """Raise if the run has to stop."""
        self._control.check()

    def call(self, act: Callable[[Salesforce, OrgSession], Result]) -> Result:
        """Return what ``act`` returns, tried again as often as it may help. ``act`` may be called many times."""
        try:
            return self._try(act, safe=True)
        except CallError as error:
            raise error.outward() from error

    def call_once(self, act: Callable[[Salesforce, OrgSession], Result]) -> Result:
        """Do as :meth:`call`, but try again only what surely did not happen.

        Raises CallError as it is: whether the request was received then decides what follows.
        """
        return self._try(act, safe=False)

    def back_off(self, backoff: Backoff, error: CallError) -> None:
        """Wait before the next try after ``error``, or raise its ExportError if there is none."""
        seconds = backoff.delay(error.retry_after) if error.rule.verdict is Verdict.TRANSIENT else None
        if seconds is None:
            raise error.outward() from error
        self._listen(Retrying(code=error.code, message=error.message, seconds=seconds))
        self._control.wait(seconds)

    def make_backoff(self) -> Backoff:
        """Return a fresh backoff with the connection's delays and limit."""
        return self._make_backoff()

    def pause(self, seconds: float) -> None:
        """Wait, unless the run has to stop."""
        self._control.wait(seconds)

    def _try(self, act: Callable[[Salesforce, OrgSession], Result], *, safe: bool) -> Result:
        backoff = self._make_backoff()
        renewed = 0
        while True:
            self._control.check()
            org = self._logged_in()
            try:
                with diagnosing(Where.CALL, urlsplit(org.base_url).netloc):
                    return act(org, self._session)
            except CallError as error:
                self._control.check()  # a call that was stopped looks like a failed one
                if error.rule.verdict is Verdict.SESSION:
                    seconds = 0.0 if not renewed else backoff.delay(None)
                    if renewed == RENEWALS or seconds is None or not can_renew(self._connection):
                        raise _refuse_session(error, self._connection.auth) from error
                    renewed += 1
                    self._control.wait(seconds)
                    self._forget(org)
                    continue
                if not safe and error.received is Received.MAYBE:
                    raise
                if error.rule.verdict is not Verdict.TRANSIENT:
                    raise
                self.back_off(backoff, error)

    def _logged_in(self) -> Salesforce:
        with self._lock:
            if self._org is None:
                self._login = self._login or self._log_in()
                self._org = open_org(
                    self._session,
                    instance_url=self._login.instance_url,
                    token=self._login.token,
                    api_version=self._api_version,
                )
            return self._org

    def _log_in(self) -> Login:
        backoff = self._make_backoff()
        while True:
            self._control.check()
            try:
                return log_in(self._session, self._connection)
            except CallError as error:
                self._control.check()
                self.back_off(backoff, error)

    def _forget(self, refused: Salesforce) -> None:
        """Have the next call log in, unless another thread already did."""
        with self._lock:
            if self._org is refused:
                self._org = self._login = None


def _refuse_session(error: CallError, auth: str) -> ExportError:
    rule = Rule(
        where=Where.CALL, code=error.code, words="", verdict=Verdict.CONFIGURATION, advice=renewal_refused(auth)
    )  # fmt: skip
    return error.with_rule(rule).outward()
