"""Vixie crontabs read into this dialect."""

from itertools import pairwise

import pytest

from scheduler.jobs.import_crontab import CrontabLine, parse_crontab, star_bit_rule

CRONTAB = """\
# m h dom mon dow command
SHELL=/bin/sh
MAILTO="ops@example.com"
0 3 * * 1-5\tpg_dump  warehouse > /backups/db.sql
*/5 * * * *  FOO=bar /usr/bin/poll

CRON_TZ=America/New_York
  @daily /usr/bin/rotate --all
0 0 */2 * 1 /usr/bin/both
0 0 1,15 * 1 /usr/bin/either
@reboot /usr/bin/start
*/60 * * * * /usr/bin/hourly
0 0 * *
CRON_TZ="EST"
0 4 * * * /usr/bin/zone
CRON_TZ=
0 5 * * SUN,jan /usr/bin/typo
0 6 * * 7 /usr/bin/sunday
"""


def test_a_crontab_is_read_line_by_line() -> None:
    york = "America/New_York"
    assert parse_crontab(CRONTAB) == [
        CrontabLine(number=4, cron="0 3 * * 1-5", command="pg_dump  warehouse > /backups/db.sql"),
        CrontabLine(number=5, cron="*/5 * * * *", command="FOO=bar /usr/bin/poll"),
        CrontabLine(number=8, cron="0 0 * * *", timezone=york, command="/usr/bin/rotate --all"),
        CrontabLine(number=9, cron="0 0 */2 * 1", timezone=york, day_match="and", command="/usr/bin/both"),
        CrontabLine(number=10, cron="0 0 1,15 * 1", timezone=york, command="/usr/bin/either"),
        CrontabLine(
            number=11,
            cron="@reboot",
            timezone=york,
            command="/usr/bin/start",
            fault="unknown alias '@reboot': a daemon's restart is not a time; schedctl run NAME runs a job by hand",
        ),
        CrontabLine(
            number=12,
            cron="*/60 * * * *",
            timezone=york,
            command="/usr/bin/hourly",
            fault="minute: '*/60': the step must be from 1 to 59; for 0 alone write 0",
        ),
        CrontabLine(number=13, fault="five fields (or an alias such as @daily) and a command are needed"),
        CrontabLine(
            number=15,
            cron="0 4 * * *",
            timezone="EST",
            command="/usr/bin/zone",
            fault="'EST' is an abbreviation, which stands for no fixed zone; write America/New_York, "
            "or Etc/GMT+5 for UTC-5 all year",
        ),
        CrontabLine(
            number=17,
            cron="0 5 * * SUN,jan",
            command="/usr/bin/typo",
            fault="day of week: 'jan': jan belongs in the month field",
        ),
        CrontabLine(number=18, cron="0 6 * * 7", command="/usr/bin/sunday"),
    ]


def test_every_line_is_read_with_vixies_steps() -> None:
    assert {line.step for line in parse_crontab(CRONTAB)} == {"offset"}


def test_the_system_crontab_names_a_user() -> None:
    lines = parse_crontab(
        "17 * * * * root cd / && run-parts\n@daily  nobody\tclean up\n0 0 * * * root\n", with_user=True
    )
    assert [(line.cron, line.command) for line in lines[:2]] == [
        ("17 * * * *", "cd / && run-parts"),
        ("0 0 * * *", "clean up"),
    ]
    assert lines[2].fault == "five fields (or an alias such as @daily), a user and a command are needed"


@pytest.mark.parametrize(
    ("cron", "day_match"),
    [
        ("0 0 1 * 1", "or"),
        ("0 0 */2 * 1", "and"),
        ("0 0 1 * */2", "and"),
        ("0 0 */1 * 1", "and"),
        ("0 0 * * 1", "or"),
        ("0 0 */2 * *", "or"),
        ("0 0 1-31 * 1", "or"),
        ("@daily", "or"),
    ],
)
def test_the_star_bit_rule_made_explicit(cron: str, day_match: str) -> None:
    assert star_bit_rule(cron) == day_match


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n", "\r\n", "A=1", "'A' = 1", "CRON_TZ=UTC"])
def test_a_crontab_without_jobs_has_no_lines(text: str) -> None:
    assert parse_crontab(text) == []


@pytest.mark.parametrize("text", ["\x00", "* * * * * \x0b", "@", "@ x", "=", "% % % % % %", "0 0 * * * " + "x" * 9_999])
def test_odd_text_is_a_line_or_a_fault_and_never_an_error(text: str) -> None:
    (line,) = parse_crontab(text)
    assert line.fault or line.command


def test_line_numbers_are_those_of_an_editor() -> None:
    text = "\x0c\u2028# none of these ends a line\r\n0 0 * * * a\r\n\r\n0 1 * * * b"
    lines = [line for line in parse_crontab(text) if not line.fault]
    assert [(line.number, line.command) for line in lines] == [(2, "a"), (4, "b")]
    assert all(one.number < two.number for one, two in pairwise(parse_crontab(text)))
