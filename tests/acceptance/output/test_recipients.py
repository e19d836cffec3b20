"""The recipients of a job, with the daemon as installed and a real mail server: each has each mail once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands.command import CONFIG, NIGHTLY, Command
from support.commands.service import JOB, SCHEMA, Service
from support.loopback.receivers import MailServer, free_port, mail_server

from exporter.emulator.server import Emulator

YEARLY = "0 0 1 1 *"
EMAIL = """
[jobs.{name}.email]
success = ["team@example.com"]
failure = ["ops@example.com", "team@example.com"]
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Emulator(state=tmp_path / "org.db", schema=SCHEMA) as org:
        yield Service(Command(tmp_path), org)


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


def job(name: str, *, table: str = "Row__c", query: str = "") -> str:
    text = JOB.format(name=name, rows=2, object=table, size=100).replace("* * * * *", YEARLY) + EMAIL.format(name=name)
    return text.replace('query = "select i as', f'query = "select {query} as') if query else text


def is_alive(service: Service) -> bool:
    return service.command("status", "--json", code=None).json["daemon"] is not None


def outbox(service: Service) -> dict[str, object]:
    found: dict[str, object] = service.command("status", "--json", code=None).json["notices"]
    return found


def mails(mail: MailServer) -> list[tuple[str, str]]:
    return sorted((str(each["To"]), str(each["Subject"])) for each in mail.mails)


def test_success_and_failure_are_mailed_to_whom_each_concerns_over_a_kill_9(service: Service, mail: MailServer) -> None:
    notify = f'[notify]\nsmtp = "{mail.url}"\n'
    service.configure(notify, job("good"), job("bad", table="Nothing__c"))
    service.command("run", "good", "--wait")
    service.command("run", "bad", "--wait", code=1)
    with service.daemon() as daemon:
        service.until(lambda: mail.tries)
        daemon.kill()
    with service.daemon():
        service.until(lambda: outbox(service)["pending"] == 0)
    told = mails(mail)
    assert {*told} == {
        ("ops@example.com", "schedctl: job bad failed: UNKNOWN_OBJECT (1 of 5 before the job is disabled)"),
        ("team@example.com", "schedctl: job bad failed: UNKNOWN_OBJECT (1 of 5 before the job is disabled)"),
        ("team@example.com", "schedctl: job good succeeded"),
    }
    assert len(told) <= 4  # the one that was on its way when the daemon was killed may come again
    assert {str(each["From"]) for each in mail.mails} == {"sender@example.com"}


def test_refused_rows_are_no_success(service: Service, mail: MailServer) -> None:
    refused = job("some", query="case when i = 1 then 12345678901.0 else i end")
    service.configure(f'[notify]\nsmtp = "{mail.url}"\n', refused)
    assert service.command("run", "some", "--wait", "--json", code=None).json["runs"][0]["outcome"] == "partial"
    with service.daemon():
        service.until(lambda: len(mail.mails) == 2)
        service.until(lambda: outbox(service)["pending"] == 0)
    assert mails(mail) == [
        ("ops@example.com", "schedctl: job some: some rows were rejected"),
        ("team@example.com", "schedctl: job some: some rows were rejected"),
    ]


def test_one_recipient_whom_the_server_refuses_is_tried_again_and_the_other_has_one_mail(
    service: Service, mail: MailServer
) -> None:
    mail.refused = {"ops@example.com"}
    service.configure(f'[notify]\nsmtp = "{mail.url}"\n', job("bad", table="Nothing__c"))
    service.command("run", "bad", "--wait", code=1)
    with service.daemon():
        service.until(lambda: "ops@example.com: " in str(outbox(service)["error"]))
        mail.refused = set()
        service.until(lambda: outbox(service)["pending"] == 0)
    assert [to for to, _ in mails(mail)] == ["ops@example.com", "team@example.com"]


def test_the_servers_password_is_in_no_log_state_or_answer(service: Service) -> None:
    password = "pass-w0rd-of-the-relay"
    service.command.environment["SMTP_URL"] = f"mailto://u:{password}@127.0.0.1:{free_port()}?from=s@example.com"
    service.configure('[notify]\nsmtp = { env = "SMTP_URL" }\n', job("bad", table="Nothing__c"))
    service.command("run", "bad", "--wait", code=1)
    said = ""
    with service.daemon():
        service.until(lambda: outbox(service)["error"])
        for arguments in (
            ["status"],
            ["check"],
            ["notify", "test", "--to", "a@example.com", "--json"],
            ["show", "bad"],
        ):
            answer = service.command(*arguments, code=None)
            said += answer.out + answer.err
    said += service.log.read_text(encoding="utf-8")
    assert "refused" in said
    assert password not in said
    assert all(
        password.encode() not in path.read_bytes() for path in service.command.state.rglob("*") if path.is_file()
    )


def test_the_commands_take_try_and_show_recipients(tmp_path: Path, mail: MailServer) -> None:
    command = Command(tmp_path, CONFIG + NIGHTLY)
    add = ("add", "mine", "--source", "warehouse", "--query", "select 1 as a", "--to", "files")
    command.fails(*add, "--email-failure", "ops@x.org", code=2, says="recipients need a mail server")
    command.write(f'[notify]\nsmtp = "{mail.url}"\n' + CONFIG + NIGHTLY)
    command.fails(*add, "--email-failure", "ops", code=2, says="write a mail address, such as ops@example.com")
    added = command(*add, "--email-success", "a@x.org,b@x.org", "--email-failure", "ops@x.org", "--json").json["job"]
    assert added["definition"]["email"] == {"success": ["a@x.org", "b@x.org"], "failure": ["ops@x.org"]}
    assert "success: a@x.org, b@x.org" in command("show", "mine").out
    edited = command("edit", "mine", "--email-success", "none", "--json").json["job"]
    assert edited["definition"]["email"] == {"success": [], "failure": ["ops@x.org"]}
    assert command("notify", "test", "--to", "a@x.org", "--json").json["addresses"] == [
        {"address": "a@x.org", "sent": True, "reason": None}
    ]
    assert mails(mail) == [("a@x.org", "schedctl: this is a test")]
    command.fails("notify", "test", code=1, says="try it with --to ADDRESS")
    command.fails("notify", "test", "--to", "nobody", code=2, says="write a mail address")
    assert command("check").err == ""
