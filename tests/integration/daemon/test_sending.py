"""One message to one address, for real: a mail server and a web hook on this machine, and what goes wrong with them."""

import io
import logging
import resource
import socket
import threading
from collections.abc import Iterator

import pytest
from support.loopback.hostile import OK, Act, answering, bomb, dripping, flooding, hostile, within
from support.loopback.receivers import MailServer, WebHook, free_port, mail_server, silent_server, web_hook

from scheduler.notifications import apprise_sender
from scheduler.notifications.apprise_sender import is_usable, secrets_in, send
from scheduler.notifications.messages import NoticeText
from scheduler.secrets.resolve import mask

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise asks for it
NOTICE = NoticeText(kind="failed", subject="job a failed", body="Job: a\nReason: <b> & {{x}} :smile: ü\n\nMore: look")


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with web_hook() as receiver:
        yield receiver


def test_a_mail_has_the_subject_the_body_as_it_is_and_the_host(mail: MailServer) -> None:
    assert send(mail.url, NOTICE, host="db-1").arrived
    (received,) = mail.mails
    assert received["Subject"] == "schedctl: job a failed"
    assert received["To"] == "reader@example.com"
    assert received.get_content_type() == "text/plain"
    assert received.get_content().strip().splitlines() == [*NOTICE.body.splitlines(), "", "schedctl on db-1"]


def test_a_line_break_in_a_subject_is_no_header_of_a_mail(mail: MailServer) -> None:
    odd = NoticeText(kind="failed", subject="job a failed: X\r\nBcc: thief@example.com\n", body="b")
    assert send(mail.url, odd, host="h").arrived
    assert mail.mails[0]["Bcc"] is None
    assert mail.subjects == ["schedctl: job a failed: X Bcc: thief@example.com"]


def test_what_a_reader_cannot_see_or_a_terminal_obeys_is_in_no_message(mail: MailServer, hook: WebHook) -> None:
    odd = NoticeText(
        kind="failed", subject="job \x1b[31ma\u202e\x00 \u2028failed", body="Reason: \x9b2J\u202eexe\r\x85\nJob: a"
    )
    assert send(mail.url, odd, host="h").arrived
    assert mail.subjects == [r"schedctl: job \u001b[31ma\u202e\u0000 failed"]
    assert mail.mails[0].get_content().strip().splitlines()[:2] == [r"Reason: \u009b2J\u202eexe\r\u0085", "Job: a"]
    assert send(hook.url, odd, host="h").arrived
    assert hook.posts[0]["title"] == r"schedctl: job \u001b[31ma\u202e\u0000 failed"


def test_a_web_hook_gets_title_message_and_type(hook: WebHook) -> None:
    assert send(hook.url, NOTICE, host="db-1").arrived
    (post,) = hook.posts
    assert (post["title"], post["type"]) == ("schedctl: job a failed", "failure")
    assert post["message"].startswith("Job: a\nReason: <b> & {{x}} :smile: ü\n")


@pytest.mark.parametrize("answer", ["550 no such user", "451 try again later", "554 no"])
def test_a_mail_that_is_refused_did_not_arrive_and_the_reason_is_told(mail: MailServer, answer: str) -> None:
    mail.refuses = answer
    sent = send(mail.url, NOTICE, host="h")
    assert not sent.arrived
    assert answer.partition(" ")[2] in sent.reason
    mail.refuses = ""
    assert send(mail.url, NOTICE, host="h").arrived


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_a_web_hook_that_answers_with_an_error_did_not_take_it(hook: WebHook, status: int) -> None:
    hook.status = status
    sent = send(hook.url, NOTICE, host="h")
    assert not sent.arrived
    assert sent.reason.startswith("json: ")
    assert str(status) in sent.reason


def test_a_server_that_never_answers_is_given_up(mail: MailServer) -> None:
    with silent_server() as (port, _):
        for url in (f"mailto://u@127.0.0.1:{port}?from=a@example.com&cto=0.3", f"json://127.0.0.1:{port}?rto=0.3"):
            sent = send(url, NOTICE, host="h")
            assert not sent.arrived
            assert "timed out" in sent.reason
    assert mail.mails == []


def greeting(peer: socket.socket, ending: threading.Event) -> None:
    """Begin as a mail server does, in a line that never ends."""
    while not ending.wait(0.02):
        peer.sendall(b"220-")


@pytest.mark.parametrize(
    ("scheme", "act"),
    [
        ("json", dripping(OK + b"Content-Length: 100000\r\n\r\n", b" ")),
        ("json", dripping(OK + b"X-Long: ", b"x")),
        ("json", flooding(OK + b"Connection: close\r\n\r\n", b" " * 65536)),
        ("mailto", greeting),
    ],
)
def test_a_server_whose_answer_never_ends_holds_up_no_other_notice(
    scheme: str, act: Act, hook: WebHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apprise_sender, "SEND_SECONDS", 1.0)
    with hostile(act) as server:
        url = f"{scheme}://127.0.0.1:{server.port}{'?from=a@example.com' if scheme == 'mailto' else ''}"
        url = url.replace("mailto://", "mailto://u@")

        def tell() -> None:
            sent = send(url, NOTICE, host="h")
            assert not sent.arrived
            assert sent.reason

        within(20, tell)
        within(20, tell)  # the message before this one may still be under way
        assert send(hook.url, NOTICE, host="h").arrived


def test_a_compressed_answer_does_not_fill_the_memory() -> None:
    packed = bomb(800_000_000)
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with hostile(answering(head, packed)) as server:
        assert not send(f"json://127.0.0.1:{server.port}", NOTICE, host="h").arrived
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


@pytest.mark.parametrize(
    "url",
    ["nonsense://x", "mailto://", "json://[::1", "://", "", "http://127.0.0.1:1/x", "mailto:a@example.com", "json"],
)
def test_what_is_no_address_is_said_so(url: str) -> None:
    sent = send(url, NOTICE, host="h")
    assert not sent.arrived
    assert sent.reason


def test_an_address_can_be_judged_without_sending(mail: MailServer) -> None:
    assert is_usable(mail.url)
    assert not is_usable("nonsense://x")
    assert not is_usable("")
    assert mail.mails == []


@pytest.mark.parametrize("url", ["a-bare-t0ken-without-a-scheme", "a-t0ken with blanks://x", "t0ken" * 20 + "://"])
def test_of_what_has_no_scheme_nothing_is_shown(url: str) -> None:
    sent = send(url, NOTICE, host="h")
    assert sent.reason == "this is no address that apprise can use (it has no scheme)"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Give all that reaches the root logger, which is where our log comes from, down to the last debug line."""
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)


def test_no_part_of_a_secret_is_told_or_logged(logged: io.StringIO) -> None:
    port = free_port()
    urls = [
        f"json://user:hunter2-hunter2@127.0.0.1:{port}/T0kenInThePath/abcdefghijklm?+X-Key=v4lueOfAKey",
        f"mailto://user:hunter2-hunter2@127.0.0.1:{port}?from=a@example.com",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        f"json://user:p%40ss%2Fword1@127.0.0.1:{port}/",
    ]
    told = " ".join(send(url, NOTICE, host="h").reason for url in urls) + logged.getvalue()
    for secret in (
        "hunter2",
        "T0kenInThePath",
        "abcdefghijklm",
        "v4lueOfAKey",
        "TIiajkdn",
        "A1BRTD4JD",
        "p@ss",
        "p%40",
    ):
        assert secret not in told
    assert mask("the log says p@ss/word1 and TIiajkdnlazkcOXrIdevi7FQ") == "the log says *** and ***"


def test_words_of_an_address_that_are_no_secrets_stay_readable() -> None:
    found = set(secrets_in("mailtos://me:pw-of-mine@mail1.example.com?to=you@example.com&from=schedctl"))
    assert found == {"mailtos://me:pw-of-mine@mail1.example.com?to=you@example.com&from=schedctl", "pw-of-mine"}
