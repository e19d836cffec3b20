"""The sender over a real outbox: once each, again later what was refused, in one message what is too much."""

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from exporter.settings.base import SecretReference
from scheduler.notifications.apprise_sender import Sent
from scheduler.notifications.dispatcher import GIVE_UP, LEASE_SECONDS, Notifier, addresses, faults_in
from scheduler.notifications.messages import NoticeText
from scheduler.notifications.settings import NotifySettings
from storage import notices
from storage.database import Database, StorageError, open_database
from storage.notices import Outbox

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ONE, TWO = "json://one.example.com/", "json://two.example.com/"


class Post:
    """Takes messages; an address in ``refusing`` takes none. ``meanwhile`` happens while one is on its way."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.tries: list[str] = []
        self.refusing: set[str] = set()
        self.meanwhile: Callable[[], object] = lambda: None
        self.bodies: list[str] = []

    def __call__(self, url: str, notice: NoticeText) -> Sent:
        self.tries.append(url)
        self.meanwhile()
        if url in self.refusing:
            return Sent(arrived=False, reason="it is closed")
        self.sent.append((url, notice.subject))
        self.bodies.append(notice.body)
        return Sent(arrived=True)


class Office:
    """An outbox, the clock, and one sender for each owner asked for."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.post = Post()
        self.now = NOON
        self.urls: tuple[SecretStr | SecretReference, ...] = (SecretStr(ONE), SecretStr(TWO))
        self.smtp: SecretStr | SecretReference | None = SecretStr("mailto://relay?from=s@x.org")

    def sender(self, owner: str = "node-a") -> Notifier:
        return Notifier(
            database=self.database,
            owner=owner,
            settings=lambda: NotifySettings(urls=self.urls, smtp=self.smtp),
            clock=lambda: self.now,
            send=self.post,
        )

    def write(self, *subjects: str, to: tuple[str, ...] = ()) -> None:
        with self.database.write() as session:
            for subject in subjects:
                notices.add(
                    session,
                    job="a",
                    run_id=None,
                    kind="failed",
                    subject=subject,
                    body=f"of {subject}",
                    now=self.now,
                    recipients=to,
                )

    def outbox(self) -> Outbox:
        with self.database.read() as session:
            return notices.outbox(session)

    def ending(self) -> str | None:
        with self.database.read() as session:
            found = session.connection().exec_driver_sql("SELECT ending FROM notice ORDER BY id DESC LIMIT 1")
            return str(found.scalar())

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    database = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    yield Office(database)
    database.close()


def test_a_notice_goes_to_every_address_once(office: Office) -> None:
    office.write("first", "second")
    assert office.sender().look() == 2
    assert office.sender().look() == 0
    assert sorted(office.post.sent) == [(ONE, "first"), (ONE, "second"), (TWO, "first"), (TWO, "second")]
    assert office.outbox() == Outbox(pending=0, oldest=None, error=None)


def test_what_one_address_refuses_is_sent_to_it_alone_later_and_over_a_restart(office: Office) -> None:
    office.post.refusing = {ONE}
    office.write("first")
    assert office.sender().look() == 0
    assert office.post.sent == [(TWO, "first")]
    assert office.outbox() == Outbox(pending=1, oldest=NOON, error="notify.urls[0]: it is closed")
    office.post.refusing = set()
    office.later(seconds=20)
    assert office.sender("node-b").look() == 0
    assert len(office.post.tries) == 2
    office.later(seconds=11)
    assert office.sender("node-b").look() == 1
    assert office.post.sent == [(TWO, "first"), (ONE, "first")]
    assert office.ending() == "sent"


def test_an_address_that_refuses_is_asked_once_a_round_and_gets_all_when_it_is_well(office: Office) -> None:
    office.urls = (SecretStr(ONE),)
    office.post.refusing = {ONE}
    office.write(*"abcde")
    office.sender().look()
    assert office.post.tries == [ONE]
    office.later(seconds=31)
    office.sender().look()
    assert office.post.tries == [ONE] * 2
    office.post.refusing = set()
    while office.outbox().pending:
        office.later(seconds=60)
        office.sender().look()
    assert sorted(subject for _, subject in office.post.sent) == list("abcde")


def test_after_three_days_a_notice_is_given_up(office: Office) -> None:
    office.post.refusing = {ONE, TWO}
    office.write("first")
    office.later(seconds=GIVE_UP.total_seconds() + 1)
    assert office.sender().look() == 1
    assert office.ending() == "given_up"
    office.post.refusing = {ONE}
    office.write("second")
    office.later(seconds=GIVE_UP.total_seconds() + 1)
    assert office.sender().look() == 1
    assert office.ending() == "partly"
    assert office.post.sent == [(TWO, "second")]


def test_with_nobody_to_tell_the_outbox_is_emptied_silently(office: Office) -> None:
    office.urls = ()
    office.write(*map(str, range(60)))
    assert office.sender().look() == 60
    assert office.ending() == "nobody"
    assert office.post.tries == []


def test_a_secret_that_cannot_be_had_is_told_and_tried_again_with_each_look(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAIL_URL", raising=False)
    office.urls = (SecretReference(env="MAIL_URL"), SecretStr(TWO))
    office.write("first")
    office.sender().look()
    assert office.post.sent == [(TWO, "first")]
    error = office.outbox().error
    assert error is not None
    assert error.startswith('notify.urls[0]: urls = { env = "MAIL_URL" }: the variable is not set')
    monkeypatch.setenv("MAIL_URL", ONE)
    office.later(seconds=31)
    assert office.sender().look() == 1
    assert office.post.sent == [(TWO, "first"), (ONE, "first")]


def test_more_than_twenty_at_once_are_told_in_one_message_to_each_address(office: Office) -> None:
    office.write(*map(str, range(57)))
    assert office.sender().look() == 57
    assert office.post.sent == [(ONE, "57 notices (57 failed)"), (TWO, "57 notices (57 failed)")]
    office.write("single")
    assert office.sender().look() == 1
    assert (ONE, "single") in office.post.sent


def test_a_digest_that_one_address_refused_is_sent_to_it_again_as_a_digest(office: Office) -> None:
    office.post.refusing = {TWO}
    office.write(*map(str, range(57)))
    assert office.sender().look() == 0
    office.post.refusing = set()
    office.later(seconds=61)
    assert office.sender().look() == 57
    assert office.post.sent == [(ONE, "57 notices (57 failed)"), (TWO, "57 notices (57 failed)")]


def test_a_storm_sends_at_most_twenty_messages_a_minute_and_tells_each_notice_once(office: Office) -> None:
    office.urls = (SecretStr(ONE),)
    times: list[datetime] = []
    office.post.meanwhile = lambda: times.append(office.now)
    draw = random.Random(7)
    written = 0
    for _ in range(240):
        count = draw.choice([0, 0, 1, 3])
        office.write(*(f"n{number}" for number in range(written, written + count)))
        written += count
        office.sender().look()
        office.later(seconds=1)
    while office.outbox().pending:
        office.later(seconds=5)
        office.sender().look()
    for when in times:
        assert sum(when <= other < when + timedelta(minutes=1) for other in times) <= 20
    told = [line.rpartition("  ")[2] for body in office.post.bodies for line in body.splitlines() if "Z  n" in line]
    told += [subject for _, subject in office.post.sent if subject.startswith("n")]
    assert sorted(told) == sorted(f"n{number}" for number in range(written))


def test_two_senders_on_one_outbox_send_each_notice_once(office: Office) -> None:
    office.urls = (SecretStr(ONE),)
    office.write(*map(str, range(20)))
    together = threading.Barrier(2)

    def empty(owner: str) -> None:
        sender = office.sender(owner)
        together.wait()
        while office.outbox().pending:
            sender.look()

    threads = [threading.Thread(target=empty, args=(owner,)) for owner in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(subject) for _, subject in office.post.sent) == list(range(20))


def test_a_sender_whose_claim_was_taken_sends_nothing_more(office: Office) -> None:
    """It hung in the first message for longer than its claims held, and another one went on."""
    office.urls = (SecretStr(ONE),)
    office.write("first", "second", "third")

    def hang() -> None:
        office.post.meanwhile = lambda: None
        office.later(seconds=LEASE_SECONDS + 1)
        office.sender("node-b").look()

    office.post.meanwhile = hang
    office.sender("node-a").look()
    subjects = [subject for _, subject in office.post.sent]
    assert sorted(subjects) == [
        "first",
        "first",
        "second",
        "third",
    ]  # the first was on its way twice: nobody could know
    assert office.outbox().pending == 0


def test_what_a_killed_daemon_had_claimed_is_sent_by_the_next_at_once(office: Office) -> None:
    office.write("first")
    with office.database.write() as session:
        notices.claim(session, owner="killed", now=office.now, lease_seconds=LEASE_SECONDS, limit=9)
    assert office.sender().look() == 0
    sender = office.sender()
    sender.start()
    try:
        sender.drain(20)
    finally:
        assert [subject for _, subject in office.post.sent] == ["first", "first"]


def test_a_database_that_goes_away_while_a_message_is_sent_is_waited_for_and_nothing_is_sent_twice(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.write("first")
    real, failures = notices.mark_sent, iter([True, True, False, False])

    def away(*arguments: object, **named: object) -> bool:
        if next(failures):
            raise StorageError("UNREACHABLE", "the server is restarting")
        return real(*arguments, **named)  # type: ignore[arg-type] # what it was given

    monkeypatch.setattr("scheduler.notifications.dispatcher.LOOK_SECONDS", 0.01)
    monkeypatch.setattr(notices, "mark_sent", away)
    assert office.sender().look() == 1
    assert office.post.sent == [(ONE, "first"), (TWO, "first")]


def test_a_sender_that_is_told_to_end_leaves_the_rest_for_the_next_without_counting_a_try(office: Office) -> None:
    office.urls = (SecretStr(ONE),)
    office.write("first", "second")
    sender = office.sender()
    office.post.meanwhile = lambda: sender.drain(0)
    sender.look()
    assert [subject for _, subject in office.post.sent] == ["first"]
    assert office.outbox() == Outbox(pending=1, oldest=NOON, error=None)
    office.post.meanwhile = lambda: None
    assert office.sender("node-b").look() == 1
    assert [subject for _, subject in office.post.sent] == ["first", "second"]


def test_addresses_show_no_secret() -> None:
    (address,) = addresses(NotifySettings(urls=(SecretStr("json://u:hunter2@h/"),)))
    assert address.url == "json://u:hunter2@h/"
    assert "hunter2" not in repr(address)


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise asks for it
def test_addresses_that_are_no_good_are_known_before_the_first_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAIL_URL", raising=False)
    urls = (SecretStr(ONE), SecretStr("nonsense://x"), SecretReference(env="MAIL_URL"))
    (no_address, no_secret) = faults_in(addresses(NotifySettings(urls=urls)))
    assert no_address == ("notify.urls[1]", "this is no address that apprise can use (it begins with nonsense://)")
    assert no_secret[0] == "notify.urls[2]"
    assert "MAIL_URL" in no_secret[1]


def test_apprise_is_loaded_when_there_are_addresses_and_not_before() -> None:
    program = "import sys, scheduler.daemon.daemon, scheduler.notifications.dispatcher; print('apprise' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def mail(name: str) -> str:
    return f"mailto://relay?from=s@x.org&to={name}%40x.org"


def test_the_recipients_of_a_notice_have_it_once_each_and_nobody_else(office: Office) -> None:
    office.write("mine", to=("a@x.org", "b@x.org"))
    office.write("for all")
    assert office.sender().look() == 2
    assert office.sender().look() == 0
    assert sorted(office.post.sent) == sorted(
        [
            (mail("a"), "mine"),
            (mail("b"), "mine"),
            (ONE, "for all"),
            (TWO, "for all"),
        ]
    )


def test_a_recipient_who_is_refused_is_tried_again_and_the_others_are_not(office: Office) -> None:
    office.write("mine", to=("a@x.org", "b@x.org"))
    office.post.refusing = {mail("a")}
    assert office.sender().look() == 0
    assert office.outbox().error == "a@x.org: it is closed"
    office.later(minutes=1)
    office.post.refusing = set()
    assert office.sender("node-b").look() == 1
    assert office.post.sent == [(mail("b"), "mine"), (mail("a"), "mine")]


def test_a_mail_server_that_is_away_is_not_asked_for_every_recipient(office: Office) -> None:
    names = [f"r{number}" for number in range(20)]
    office.write("mine", to=tuple(f"{name}@x.org" for name in names))
    office.write("for all")
    office.post.refusing = {mail(name) for name in names}
    assert office.sender().look() == 1
    assert [url for url in office.post.tries if url.startswith("mailto:")] == [mail("r0"), mail("r1")]
    office.later(minutes=1)
    office.post.refusing = set()
    assert office.sender().look() == 1
    assert [url for url, subject in office.post.sent if subject == "mine"] == [mail(name) for name in names]


def test_recipients_wait_while_there_is_no_mail_server(office: Office) -> None:
    office.urls, office.smtp = (), None
    office.write("mine", to=("a@x.org",))
    office.write("for all")
    assert office.sender().look() == 1
    assert office.outbox().error == "a@x.org: [notify] has no smtp"
    office.smtp = SecretStr("mailto://relay?from=s@x.org")
    office.later(minutes=1)
    assert office.sender().look() == 1
    assert office.post.sent == [(mail("a"), "mine")]


def test_a_secret_of_the_mail_server_that_cannot_be_had_holds_up_no_other_address(office: Office) -> None:
    office.smtp = SecretReference(env="NO_SUCH_VARIABLE_77")
    office.write("mine", to=("a@x.org",))
    office.write("for all")
    assert office.sender().look() == 1
    assert office.post.sent == [(ONE, "for all"), (TWO, "for all")]
    assert "NO_SUCH_VARIABLE_77" in (office.outbox().error or "")


def test_too_many_mails_come_to_each_recipient_as_one_of_what_is_theirs(office: Office) -> None:
    for number in range(15):
        office.write(f"of both {number}", to=("a@x.org", "b@x.org"))
        office.write(f"of b {number}", to=("b@x.org",))
    assert office.sender().look() == 30
    assert [(url, subject.split()[0]) for url, subject in office.post.sent] == [(mail("a"), "15"), (mail("b"), "30")]
