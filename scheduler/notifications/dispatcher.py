"""The daemon's sender of notices: a thread that empties the outbox, and for which no run ever waits.

A notice is claimed before it is sent, so that of several daemons one sends it. What an address refuses is tried again
later and later, for three days. A message that went out is noted before the next one is sent; a daemon that is killed
in between has the next one send that message a second time, since nobody knows then whether it arrived.
"""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter
from urllib.parse import quote

from pydantic import SecretStr

from exporter.settings.base import SecretReference
from scheduler.environment.clock import Clock
from scheduler.notifications.apprise_sender import Sent, is_usable, send, unusable
from scheduler.notifications.messages import PER_MINUTE, WINDOW, NoticeText, bundling, digest, next_try
from scheduler.notifications.settings import MAIL_SCHEMES, NotifySettings
from scheduler.observability.logging_setup import get_logger
from scheduler.secrets.resolve import SecretError, resolve
from storage import notices
from storage.database import Database, Session, StorageError
from storage.engine.server_clock import shared_now
from storage.notices import StoredNotice

LOOK_SECONDS = 1.0
"""How often the outbox is looked into."""
LEASE_SECONDS = 600.0
"""How long a claimed notice is nobody else's; renewed before each message, the slowest of which takes some minutes."""
GIVE_UP = timedelta(days=3)
"""After this a notice is old news."""
AT_ONCE = 1000
"""Notices claimed at once: only a digest has so many."""

log = get_logger("schedctl.notify")
Send = Callable[[str, NoticeText], Sent]


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where notices go: ``label`` names it in the config file; ``url`` is None if its secret is unavailable.

    That of a ``recipient`` of one job is labeled with the recipient's address.
    """

    label: str
    url: str | None = field(repr=False)
    fault: str = ""
    is_recipient: bool = False


@dataclass(kw_only=True)
class _InHand:
    """A claimed notice, the addresses that have it by now, and what the others said."""

    notice: StoredNotice
    sent_to: list[str]
    errors: list[str] = field(default_factory=list)
    tried: bool = False

    def lacks(self, address: Address) -> bool:
        """Whether it is for this address, which does not have it yet."""
        recipients = self.notice.recipients
        is_for_it = address.label in recipients if address.is_recipient else not recipients
        return is_for_it and address.label not in self.sent_to


def addresses(settings: NotifySettings) -> list[Address]:
    """Return the addresses, their secrets looked up anew: a changed secret needs no reload."""
    return [_address(position, each, settings) for position, each in enumerate(settings.urls)]


def _address(position: int, each: SecretStr | SecretReference, settings: NotifySettings) -> Address:
    label = f"notify.urls[{position}]"
    try:
        (secret,) = resolve(settings.model_copy(update={"urls": (each,), "smtp": None})).urls
    except SecretError as error:
        return Address(label=label, url=None, fault=str(error))
    return Address(label=label, url=secret.get_secret_value() if isinstance(secret, SecretStr) else None)


def relay(settings: NotifySettings) -> Address | None:
    """Return the mail server for recipients, its secret looked up anew; None if there is none."""
    label = "notify.smtp"
    if settings.smtp is None:
        return None
    try:
        secret = resolve(settings.model_copy(update={"urls": ()})).smtp
    except SecretError as error:
        return Address(label=label, url=None, fault=str(error))
    url = secret.get_secret_value() if isinstance(secret, SecretStr) else ""
    if url.partition("://")[0].lower() not in MAIL_SCHEMES:
        return Address(label=label, url=None, fault="it does not begin with mailto:// or mailtos://")
    return Address(label=label, url=url)


def recipient(address: str, server: Address | None) -> Address:
    """Return where a mail to this address goes: through the server, to nobody else that its URL may name."""
    if server is None or server.url is None:
        fault = "[notify] has no smtp" if server is None else f"{server.label}: {server.fault}"
        return Address(label=address, url=None, fault=fault, is_recipient=True)
    head, _, query = server.url.partition("?")
    scheme, _, rest = head.partition("://")
    kept = [each for each in query.split("&") if each and each.partition("=")[0].lower() != "to"]
    query = "&".join([*kept, f"to={quote(address, safe='')}"])
    return Address(label=address, url=f"{scheme}://{rest.partition('/')[0]}?{query}", is_recipient=True)


def faults_in(known: Iterable[Address]) -> Iterator[tuple[str, str]]:
    """Yield label and fault of each address that cannot be sent to, as far as one can tell without sending."""
    for address in known:
        if address.url is None:
            yield address.label, address.fault
        elif not is_usable(address.url):
            yield address.label, unusable(address.url)


def send_here(url: str, notice: NoticeText) -> Sent:
    """Send from this machine, and say so in the message."""
    return send(url, notice, host=socket.gethostname())


class Notifier:
    """Empties the outbox in a thread of its own. ``settings`` is asked each time, so that a reload counts at once."""

    def __init__(
        self,
        *,
        database: Database,
        owner: str,
        settings: Callable[[], NotifySettings],
        clock: Clock,
        send: Send = send_here,
    ) -> None:
        self._database = database
        self._owner = owner
        self._settings = settings
        self._clock = clock
        self._send = send
        self._checked: NotifySettings | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, name="notices", daemon=True)

    def start(self) -> None:
        """Begin; what a process held that is gone is given back first."""
        with self._database.write() as session:
            notices.release_lost(session)
        self._thread.start()

    def drain(self, seconds: float) -> None:
        """Let what is due go out, and end; what takes longer than that waits for the next daemon."""
        limit = time.monotonic() + seconds
        while self._thread.is_alive() and time.monotonic() < limit and self._is_any_due():
            time.sleep(0.1)
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(max(0.0, limit - time.monotonic()))

    def _is_any_due(self) -> bool:
        with self._database.read() as session:
            return notices.outbox(session, due=self._clock()).pending > 0

    def _work(self) -> None:
        is_refused = False
        while not self._done.wait(LOOK_SECONDS):
            try:
                self._check()
                self.look()
                is_refused = False
            except StorageError as error:
                if not is_refused:  # once, not with every look
                    log.error("notices.storage_refused", code=error.code, message=error.message)  # noqa: TRY400 - says it all
                is_refused = True
            except Exception:  # the outer frame of the thread: the next round may do better
                log.exception("notices.crashed")

    def _check(self) -> None:
        """Warn of addresses that are no good when they are new, rather than with the first notice that they miss."""
        settings = self._settings()
        if settings == self._checked:
            return
        self._checked = settings
        server = relay(settings)
        for label, reason in faults_in([*addresses(settings), *([server] if server is not None else [])]):
            log.warning("notice.address_unusable", address=label, reason=reason)

    def look(self) -> int:
        """Send what is due, and return how many notices left the outbox."""
        now = self._clock()
        with self._database.read() as session:
            traffic = notices.traffic(session, now=now, within=WINDOW)
        if not traffic.due:
            return 0
        settings = self._settings()
        known = addresses(settings)
        can_tell = bool(known) or settings.smtp is not None
        how = bundling(due=traffic.due, recently=traffic.recently, last_digest=traffic.last_digest, now=now)
        if how == "none" and can_tell:
            return 0
        limit = PER_MINUTE - traffic.recently if how == "each" and can_tell else AT_ONCE
        with self._database.write() as session:
            shared = shared_now(session, now)
            claimed = notices.claim(session, owner=self._owner, now=shared, lease_seconds=LEASE_SECONDS, limit=limit)
        hands = [
            _InHand(notice=notice, sent_to=list(notice.sent_to)) for notice in sorted(claimed, key=attrgetter("id"))
        ]
        for address in known:
            self._tell(address, hands, in_one=how == "one")
        self._mail(settings, hands, in_one=how == "one")
        return self._settle(hands, known)

    def _mail(self, settings: NotifySettings, hands: Sequence[_InHand], *, in_one: bool) -> None:
        """Send to the recipients of jobs what they do not have yet.

        A server that gives two of them the same reason why not is left alone until the next time: it is away, and to
        wait for it 20 times would hold up the others.
        """
        server, said = relay(settings), ["", ""]
        for name in dict.fromkeys(name for hand in hands for name in hand.notice.recipients):
            address = recipient(name, server)
            if said[-1] and said[-1] == said[-2]:
                address = replace(address, url=None, fault=said[-1])
            if any(hand.lacks(address) for hand in hands):
                said.append(self._tell(address, hands, in_one=in_one))

    def _tell(self, address: Address, hands: Sequence[_InHand], *, in_one: bool) -> str:
        """Send to an address what it does not have yet, and return why it refuses it.

        After its first refusal the rest is left for the next time.
        """
        rest = [hand for hand in hands if hand.lacks(address)]
        while rest and not self._done.is_set():
            ours = self._renew(hands)
            rest = [hand for hand in rest if hand.notice.id in ours]
            bundle = rest if in_one else rest[:1]
            if not bundle:
                return ""
            sent = Sent(arrived=False, reason=address.fault)
            if address.url is not None:
                sent = self._send(address.url, _text(bundle))
            for hand in bundle:
                hand.tried = True
            if not sent.arrived:
                log.warning("notice.not_sent", address=address.label, reason=sent.reason, notices=len(rest))
                for hand in rest:
                    hand.errors.append(f"{address.label}: {sent.reason}")
                return sent.reason
            self._note(address, bundle)
            rest = rest[len(bundle) :]
        return ""

    def _renew(self, hands: Sequence[_InHand]) -> set[int]:
        claimed = [hand.notice for hand in hands]
        with self._database.write() as session:
            now = shared_now(session, self._clock())
            return notices.renew(session, claimed, owner=self._owner, now=now, lease_seconds=LEASE_SECONDS)

    def _note(self, address: Address, bundle: Sequence[_InHand]) -> None:
        """Write down what an address has; wait for a database that is away, or the message would go out again."""
        number = bundle[0].notice.id if len(bundle) > 1 else None
        for hand in bundle:
            hand.sent_to.append(address.label)
        log.info("notice.sent", address=address.label, notices=[hand.notice.id for hand in bundle])
        limit = time.monotonic() + LEASE_SECONDS
        while True:
            try:
                with self._database.write() as session:
                    for hand in bundle:
                        notices.mark_sent(
                            session,
                            hand.notice,
                            owner=self._owner,
                            sent_to=hand.sent_to,
                            digest=number,
                            now=self._clock(),
                        )
            except StorageError:
                if time.monotonic() > limit or self._done.wait(LOOK_SECONDS):
                    raise
            else:
                return

    def _settle(self, hands: Sequence[_InHand], known: Sequence[Address]) -> int:
        """Close what all addresses have, or never will; put back the rest. Return how many were closed."""
        now = self._clock()
        labels = {address.label for address in known}
        closed = 0
        with self._database.write() as session:
            for hand in hands:
                notice, error = hand.notice, "; ".join(hand.errors) or None
                if (set(notice.recipients) or labels) <= set(hand.sent_to):
                    ending: notices.Ending = "sent" if hand.sent_to else "nobody"
                elif error is not None and now - notice.created_at > GIVE_UP:
                    ending = "partly" if hand.sent_to else "given_up"
                    log.error("notice.given_up", notice=notice.id, subject=notice.subject, reason=error)
                else:
                    self._postpone(session, hand, error, now)
                    continue
                closed += notices.close(session, notice, owner=self._owner, ending=ending, error=error, now=now)
        return closed

    def _postpone(self, session: Session, hand: _InHand, error: str | None, now: datetime) -> None:
        """Put a notice back: at once what was not come to, since this process ends or its claim was lost."""
        attempt = hand.notice.attempt + (hand.tried and error is not None)
        until = now
        if error is not None:
            until = next_try(attempt=max(attempt, 1), now=now, jitter=random.random())  # noqa: S311 - it spreads tries
        notices.postpone(session, hand.notice, owner=self._owner, until=until, attempt=attempt, error=error)


def _text(bundle: Sequence[_InHand]) -> NoticeText:
    first = bundle[0].notice
    if len(bundle) > 1:
        return digest([hand.notice for hand in bundle])
    return NoticeText(kind=first.kind, subject=first.subject, body=first.body)
