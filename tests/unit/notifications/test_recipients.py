"""Who is mailed how the runs of a job end: what a table may hold, and which end is whose."""

from datetime import UTC, datetime

import pytest

from exporter.failures import configuration, transient
from exporter.report import ExportReport
from scheduler.config.build import parse
from scheduler.errors.setting_faults import ConfigError
from scheduler.jobs.definition import Job
from scheduler.notifications.dispatcher import Address, recipient
from scheduler.notifications.messages import Ended
from scheduler.notifications.recipients import mails_of
from scheduler.outcomes.outcome import Conclusion, Outcome, conclude_error

SLOT = datetime(2026, 11, 24, 12, tzinfo=UTC)
EMAIL = {"success": ["team@x.org"], "failure": ["ops@x.org", "team@x.org", "ops@x.org"]}
GOOD = Conclusion(outcome=Outcome.SUCCEEDED, report=ExportReport(read=1, accepted=1))
PARTIAL = Conclusion(outcome=Outcome.PARTIAL, report=ExportReport(read=2, accepted=1, rejected=1))
WRONG = conclude_error(configuration("INVALID_FIELD", "No such column"))
BUSY = conclude_error(transient("SERVER_UNAVAILABLE", "later"))
CONFIG = """
{notify}
[connections.a]
type = "duckdb"
[connections.b]
type = "file"
directory = "out"
[jobs.contacts]
source = "a"
query = "select 1"
export = {{ connection = "b" }}
email = {email}
"""
SMTP = '[notify]\nsmtp = "mailto://127.0.0.1?from=s@x.org"'


def ended(conclusion: Conclusion, *, disable: str | None = None, was_failing: bool = False) -> Ended:
    return Ended(
        job="contacts",
        run_id=7,
        kind="schedule",
        scheduled_time=SLOT,
        attempt=1,
        conclusion=conclusion,
        streak=1,
        disable_after=5,
        disable=disable,
        was_failing=was_failing,
    )


@pytest.mark.parametrize(
    ("end", "kinds", "whose"),
    [
        (ended(GOOD), ["succeeded"], ("team@x.org",)),
        (ended(GOOD, was_failing=True), ["recovered"], ("team@x.org",)),
        (ended(PARTIAL), ["partial"], ("ops@x.org", "team@x.org")),
        (ended(BUSY), ["failed"], ("ops@x.org", "team@x.org")),
        (ended(WRONG, disable="5 in a row"), ["failed", "disabled"], ("ops@x.org", "team@x.org")),
        (ended(Conclusion(outcome=Outcome.CANCELED)), [], ()),
    ],
)
def test_success_goes_to_those_of_success_and_all_else_to_those_of_failure(
    end: Ended, kinds: list[str], whose: tuple[str, ...]
) -> None:
    found = list(mails_of(end, EMAIL))
    assert [notice.kind for notice, _ in found] == kinds
    assert all(names == whose for _, names in found)
    assert list(mails_of(end, None)) == list(mails_of(end, {"success": [], "failure": []})) == []


def faults_of(email: str, notify: str = SMTP) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(CONFIG.format(notify=notify, email=email))
    return [str(fault) for fault in caught.value.faults]


def test_a_job_with_recipients_survives_its_json() -> None:
    config = parse(
        CONFIG.format(notify=SMTP, email='{ success = ["a+b@x.org"], failure = ["o\'neil@x-y.example.com"] }')
    )
    job = config.jobs["contacts"]
    assert Job.from_dict(job.to_dict()) == job
    assert job.email is not None
    assert job.email.success == ("a+b@x.org",)


@pytest.mark.parametrize(
    "wrong", ["ops", "ops@", "@x.org", "a b@x.org", "a@x.org, b@x.org", "Ops <ops@x.org>", "a@-x", ""]
)
def test_what_is_no_mail_address_is_a_fault_by_key_and_value(wrong: str) -> None:
    (fault,) = faults_of(f'{{ failure = ["{wrong}"] }}')
    assert fault.startswith("jobs.contacts.email.failure[0]: ")
    assert "write a mail address, such as ops@example.com" in fault


def test_twenty_recipients_are_the_most_over_both_lists() -> None:
    some = ", ".join(f'"r{number}@x.org"' for number in range(20))
    parse(CONFIG.format(notify=SMTP, email=f"{{ success = [{some}], failure = [{some}] }}"))
    (fault,) = faults_of(f'{{ success = [{some}], failure = ["one-more@x.org"] }}')
    assert fault == "jobs.contacts.email.failure: a job has 20 recipients at most: use a list"


def test_recipients_without_a_mail_server_are_a_fault_and_an_empty_table_is_none() -> None:
    (fault,) = faults_of('{ success = ["a@x.org"] }', notify="")
    assert fault.startswith("jobs.contacts.email: recipients need a mail server: set smtp = ")
    parse(CONFIG.format(notify="", email="{ success = [] }"))
    (fault,) = faults_of('{ success = ["a@x.org"] }', notify='[notify]\nsmtp = "json://x.org"')
    assert fault.startswith("notify.smtp: ")
    assert "mailtos://user:password@host" in fault


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("mailto://h:25", "mailto://h:25?to=a%2Bb%40x.org"),
        (
            "mailtos://u:p%40@h/other@x.org?from=s@x.org&to=old@x.org",
            "mailtos://u:p%40@h?from=s@x.org&to=a%2Bb%40x.org",
        ),
    ],
)
def test_a_mail_goes_to_its_recipient_and_to_nobody_else_that_the_server_may_name(server: str, url: str) -> None:
    assert recipient("a+b@x.org", Address(label="notify.smtp", url=server)).url == url


def test_a_recipient_without_a_server_has_a_reason_why_not() -> None:
    assert recipient("a@x.org", None).fault == "[notify] has no smtp"
    broken = Address(label="notify.smtp", url=None, fault="the variable is not set")
    assert recipient("a@x.org", broken).fault == "notify.smtp: the variable is not set"
