"""Notices, the disk and the history, with the daemon as installed and a real mail server and web hook."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands.command import Command
from support.commands.service import JOB, SCHEMA, Service
from support.loopback.receivers import MailServer, WebHook, mail_server, silent_server, web_hook

from exporter.emulator.server import Emulator

YEARLY = "0 0 1 1 *"
PASSWORD = "pass-w0rd-of-the-hook"
TOKEN = "T0kenOfTheHook9"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Emulator(state=tmp_path / "org.db", schema=SCHEMA) as org:
        yield Service(Command(tmp_path), org)


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with web_hook() as receiver:
        yield receiver


def job(name: str, *, table: str = "Row__c", rows: int = 1) -> str:
    return JOB.format(name=name, rows=rows, object=table, size=100).replace("* * * * *", YEARLY)


def configure(service: Service, *jobs: str, urls: list[str], on: str = "", storage: str = "") -> None:
    listed = ", ".join(url if url.startswith("{") else f'"{url}"' for url in urls)
    service.configure(f"[notify]\nurls = [{listed}]\n{on}\n", *jobs)
    if storage:
        text = service.command.config.read_text(encoding="utf-8")
        service.command.write(text.replace("[storage]\n", f"[storage]\n{storage}\n"))


def run(service: Service, name: str) -> None:
    service.command("run", name, "--wait", code=None)


def is_alive(service: Service) -> bool:
    return service.command("status", "--json", code=None).json["daemon"] is not None


def nothing_is_pending(service: Service) -> bool:
    return service.command("status", "--json", code=None).json["notices"]["pending"] == 0


def test_a_wrong_object_makes_five_mails_and_a_last_one_over_a_restart_and_its_mending_one_more(
    service: Service, mail: MailServer
) -> None:
    configure(service, job("bad", table="Nothing__c"), urls=[mail.url])
    with service.daemon() as daemon:
        service.until(lambda: is_alive(service))
        run(service, "bad")
        run(service, "bad")
        daemon.kill()
        daemon.wait()
    with service.daemon():
        service.until(lambda: is_alive(service))
        for _ in range(3):
            run(service, "bad")
        service.until(lambda: len(mail.mails) >= 6 and nothing_is_pending(service))
        counts = [re.search(r"\((.*) before", subject) for subject in mail.subjects]
        assert [count[1] if count else "" for count in counts] == [*(f"{n} of 5" for n in range(1, 6)), ""]
        assert mail.subjects[-1] == "schedctl: job bad is disabled"
        assert "schedctl enable bad" in mail.mails[-1].get_content()
        configure(service, job("bad"), urls=[mail.url])
        service.until(lambda: service.command("list", "--json").json["jobs"][0]["state"] == "enabled")
        run(service, "bad")
        service.until(lambda: len(mail.mails) >= 7)
    assert mail.subjects[6:] == ["schedctl: job bad succeeds again"]


def test_what_was_settled_before_a_kill_9_is_sent_once_after_it(service: Service, mail: MailServer) -> None:
    with silent_server() as (port, server):
        silent = f"mailto://u@127.0.0.1:{port}?from=a@example.com&cto=60"
        configure(service, job("bad", table="Nothing__c"), urls=[silent])
        with service.daemon() as daemon:
            service.until(lambda: is_alive(service))
            run(service, "bad")
            connection, _ = server.accept()  # the message is on its way
            daemon.kill()
            daemon.wait()
            connection.close()
    configure(service, job("bad", table="Nothing__c"), urls=[mail.url])
    with service.daemon() as daemon:
        service.until(lambda: mail.mails)
        service.until(lambda: nothing_is_pending(service))
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=40) == 0
    assert len(mail.mails) == 1


def test_a_server_that_hangs_holds_up_no_run_and_status_says_so(service: Service, hook: WebHook) -> None:
    with silent_server() as (port, _):
        silent = f"mailto://u@127.0.0.1:{port}?from=a@example.com&cto=2"
        configure(service, job("bad", table="Nothing__c"), job("good"), urls=[silent, hook.url])
        with service.daemon():
            service.until(lambda: is_alive(service))
            run(service, "bad")
            run(service, "good")
            assert service.runs("good")[0].outcome == "succeeded"
            service.until(lambda: hook.posts)
            service.until(
                lambda: "timed out" in (service.command("status", "--json", code=None).json["notices"]["error"] or "")
            )
    assert hook.subjects == ["schedctl: job bad failed: UNKNOWN_OBJECT (1 of 5 before the job is disabled)"]


def test_no_secret_of_an_address_gets_into_state_log_or_answers(service: Service, hook: WebHook) -> None:
    service.command.environment["HOOK_URL"] = hook.url.replace("127.0.0.1", "localhost")
    configure(
        service,
        job("bad", table="Nothing__c"),
        urls=[hook.url, '{ env = "HOOK_URL" }', "json://u:another-pass-w0rd@127.0.0.1:9/An0therToken77"],
    )
    said = ""
    with service.daemon() as daemon:
        service.until(lambda: is_alive(service))
        run(service, "bad")
        service.until(lambda: len(hook.posts) == 2)
        service.until(lambda: service.command("status", "--json", code=None).json["notices"]["error"])
        for arguments in (["status"], ["notify", "test"], ["notify", "test", "--json"], ["check"]):
            answer = service.command(*arguments, code=None)
            said += answer.out + answer.err
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=40)
    said += service.log.read_text(encoding="utf-8")
    assert "Connection refused" in said
    state = b"".join(path.read_bytes() for path in service.command.state.rglob("*") if path.is_file())
    for secret in (PASSWORD, TOKEN, "another-pass-w0rd", "An0therToken77"):
        assert secret not in said
        assert secret.encode() not in state


def test_notify_test_tries_every_address_and_says_which_refuses(service: Service, mail: MailServer) -> None:
    configure(service, urls=[mail.url, "nonsense://x"])
    answer = service.command("notify", "test", "--json", code=1)
    assert [(each["address"], each["sent"]) for each in answer.json["addresses"]] == [
        ("notify.urls[0]", True),
        ("notify.urls[1]", False),
    ]
    assert "no address that apprise can use" in answer.err
    assert mail.subjects == ["schedctl: this is a test"]
    assert "warning: notify.urls[1]: this is no address" in service.command("check").err
    configure(service, urls=[])
    service.command.fails("notify", "test", code=1, says="nobody to notify")


def test_a_bad_edit_is_announced_once(service: Service, mail: MailServer) -> None:
    configure(service, job("good"), urls=[mail.url])
    sound = service.command.config.read_text(encoding="utf-8")
    with service.daemon():
        service.until(lambda: is_alive(service))
        service.command.write(sound.replace(YEARLY, "99 * * * *"))
        service.until(lambda: mail.mails)
        service.command.write(sound.replace(YEARLY, "98 * * * *"))
        service.until(lambda: '"98"' in service.log.read_text(encoding="utf-8").replace("'", '"'))
        service.command.write(sound)
        service.until(lambda: service.command("status", code=None).code == 0)
        service.command.write(sound.replace(YEARLY, "97 * * * *"))
        service.until(lambda: len(mail.mails) == 2)
    assert set(mail.subjects) == {"schedctl: the config file has faults and was not applied"}
    assert "99" in mail.mails[0].get_content()
    assert "97" in mail.mails[1].get_content()


def test_a_disk_that_is_nearly_full_stops_new_runs_and_starts_them_again_by_itself(
    service: Service, mail: MailServer
) -> None:
    configure(service, job("good"), urls=[mail.url])
    with service.daemon():
        service.until(lambda: service.command("status", code=None).code == 0)
        configure(service, job("good"), urls=[mail.url], storage='min_free = "900000TB"')
        service.until(lambda: mail.mails)
        assert "the disk is nearly full" in mail.subjects[0]
        answer = service.command("status", "--json", code=1)
        assert "min_free = 900000TB" in answer.json["disk"]["faults"][0]
        assert "disk" in service.command("status", code=1).out
        service.command("run", "good")
        service.until(lambda: service.command("status", "--json", code=1).json["queue"]["waiting"] == 1)
        configure(service, job("good"), urls=[mail.url], storage='min_free = "1KB"')
        service.until(lambda: service.runs("good")[0].state == "finished")
        service.until(lambda: len(mail.mails) == 2)
        assert "runs are started again" in mail.subjects[1]
        assert service.command("status", "--json").json["disk"]["faults"] == []
        assert "config.needs_restart" not in service.log.read_text(encoding="utf-8")


def test_a_start_throws_away_what_is_older_than_the_history(service: Service) -> None:
    configure(service, job("good"), urls=[], storage="history = 0")
    for _ in range(3):
        run(service, "good")
    (service.command.state / "spool" / "run-1-deleted").mkdir(parents=True)
    (service.command.state / "spool" / "run-99").mkdir()
    with service.daemon():
        service.until(lambda: len(service.runs("good")) == 1)
        service.until(lambda: "history.pruned" in service.log.read_text(encoding="utf-8"))
    assert "lost-run-99-" in service.log.read_text(encoding="utf-8")
    assert list((service.command.state / "spool").iterdir()) == []


def test_once_sends_what_it_has_to_tell_before_it_ends(service: Service, mail: MailServer) -> None:
    bad = JOB.format(name="bad", rows=1, object="Nothing__c", size=100)
    configure(service, bad, urls=[mail.url], on='on = ["failed"]')
    service.owe_a_slot()
    with service.daemon("--once") as daemon:
        assert daemon.wait(timeout=60) == 1
    assert len(mail.mails) == len(service.runs("bad"))


def test_a_wrong_secret_disables_at_the_fifth_failure_over_kills_of_the_daemon_with_five_notices_and_one_last(
    service: Service, hook: WebHook
) -> None:
    configure(service, job("contacts"), urls=[hook.url])
    service.command.environment["CRM_SECRET"] = "wrong"
    states = []
    for number in range(1, 6):
        with service.daemon() as daemon:
            service.until(lambda: is_alive(service))
            service.command("run", "contacts")
            service.until(lambda number=number: [r.outcome for r in service.runs("contacts")] == ["failed"] * number)
            service.until(lambda number=number: len(hook.subjects) >= number)
            (listed,) = service.command("list", "--json").json["jobs"]
            states.append((listed["state"], listed["failure_streak"]))
            daemon.kill()
    assert states == [("enabled", 1), ("enabled", 2), ("enabled", 3), ("enabled", 4), ("auto_disabled", 5)]
    service.command.environment["CRM_SECRET"] = "secret"
    with service.daemon():
        service.until(lambda: len(hook.subjects) >= 6)
        assert [subject.split(": ")[1] for subject in hook.subjects] == ["job contacts failed"] * 5 + [
            "job contacts is disabled"
        ]
        service.command("enable", "contacts")
        service.command("run", "contacts", "--wait")
        service.until(lambda: len(hook.subjects) >= 7)
    assert hook.subjects[6].split(": ")[1] == "job contacts succeeds again"
    assert len(hook.subjects) == 7
