"""Every row of every table of docs/dialect.md, executed."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import CroniterBadDateError, croniter
from cronsim import CronSim, CronSimError

from scheduler.schedules.cron_fields import FIELDS
from scheduler.schedules.days import dates_in_400_years
from scheduler.schedules.expression import CronError, parse
from scheduler.schedules.schedule import Schedule, ScheduleError, make_schedule

PAGE = Path(__file__).parents[2] / "docs" / "dialect.md"
SINCE = datetime(2026, 11, 23, tzinfo=UTC)
"""The tables that show first dates begin here; a fire at this very instant counts."""
Row = tuple[str, ...]


def tables() -> list[tuple[Row, list[Row]]]:
    """Return (header, rows) of each table; code ticks around a whole cell are taken off."""
    found: list[tuple[Row, list[Row]]] = []
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("|---"):
            rows = []
            for row in lines[number + 1 :]:
                if not row.startswith("|"):
                    break
                rows.append(cells(row))
            found.append((cells(lines[number - 1]), rows))
    return found


def cells(line: str) -> Row:
    texts = [cell.strip() for cell in line.strip().strip("|").split("|")]
    return tuple(re.sub(r"^`(.*)`$", r"\1", "" if text == "``" else text) for text in texts)


def switches(text: str) -> dict[str, str]:
    if not text:
        return {}
    key, value = text.split(" = ")
    return {key: value.strip('"')}


def numbers(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(sorted(found))


def expanded(cron: str, field: str, **options: str) -> tuple[int, ...]:
    found = parse(cron, **options)
    values = (found.minutes, found.hours, found.days, found.months, found.weekdays)
    return values[[rule.name for rule in FIELDS].index(field)]


def first_fires(schedule: Schedule, count: int, form: str) -> list[str]:
    found = zip(range(count), schedule.fires_after(SINCE - timedelta(seconds=1)), strict=False)
    return [f"{fire.scheduled_time:{form}}" for _, fire in found]


def check_field(field: str, token: str, values: str) -> None:
    tokens = [token if rule.name == field else "*" for rule in FIELDS]
    assert expanded(" ".join(tokens), field) == numbers(values)


def check_switch(cron: str, switch: str, means: str) -> None:
    field, _, values = means.rpartition(" ")
    assert expanded(cron, field, **switches(switch)) == numbers(values)


def check_dates(cron: str, switch: str, dates: str) -> None:
    wanted = dates.split(", ")
    assert first_fires(make_schedule(cron, **switches(switch)), len(wanted), "%m-%d") == wanted


def check_repeat(_every: str, cron: str, dates: str) -> None:
    check_dates(cron, "", dates)


def check_counts(fields: str, by_day: str, by_weekday: str, followed: str) -> None:
    cron = parse(f"0 0 {fields}", day_match="more-often")
    assert f"{dates_in_400_years(days=cron.days, months=cron.months):,}" == by_day
    assert f"{dates_in_400_years(weekdays=cron.weekdays, months=cron.months):,}" == by_weekday
    assert {cron.ignored, followed} == {"day of month", "day of week"}


def check_alias(text: str, same: str) -> None:
    assert parse(text) == parse(same)
    assert parse(text).text == same


def check_next(cron: str, since: str, wanted: str) -> None:
    fire = make_schedule(cron).next_after(datetime.fromisoformat(since).replace(tzinfo=UTC))
    assert ("never" if fire is None else f"{fire.scheduled_time:%Y-%m-%d}") == wanted


def check_refused(text: str, message: str) -> None:
    with pytest.raises(CronError) as caught:
        parse(text)
    assert caught.value.message == message


def check_zone(timezone: str, message: str) -> None:
    if not message:
        assert make_schedule("0 0 * * *", timezone=timezone).timezone == timezone
        return
    with pytest.raises(ScheduleError) as caught:
        make_schedule("0 0 * * *", timezone=timezone)
    assert caught.value.message == message


def check_dst(cron: str, timezone: str, switch: str, day: str, fires: str) -> None:
    zone, wanted_day = ZoneInfo(timezone), date.fromisoformat(day)
    noon = datetime(wanted_day.year, wanted_day.month, wanted_day.day, 12, tzinfo=UTC)
    schedule = make_schedule(cron, timezone=timezone, **switches(switch))
    around = schedule.between(noon - timedelta(days=2), noon + timedelta(days=2))
    local = [fire.scheduled_time.astimezone(zone) for fire in around]
    found = [f"{fire:%H:%M %Z}" for fire in local if fire.date() == wanted_day]
    shown, _, more = fires.partition(" and ")
    wanted = [] if shown == "none" else shown.split(", ")
    assert found[: len(wanted)] == wanted
    assert len(found) - len(wanted) == int(more.removesuffix(" more") or 0)


def check_page(cron: str, switch: str, _says: str, fires: str) -> None:
    wanted = fires.split(", ")
    schedule = make_schedule(cron, **switches(switch))
    found = [f"{fire.scheduled_time:%m-%d %H:%M}" for _, fire in zip(wanted, schedule.fires_after(SINCE), strict=False)]
    assert found == wanted


def check_library(cron: str, switch: str, here: str, library: str, there: str) -> None:
    wanted = here.split(", ")
    schedule = make_schedule(cron, **switches(switch))
    found = [f"{fire.scheduled_time:%m-%d}" for _, fire in zip(wanted, schedule.fires_after(SINCE), strict=False)]
    assert (found or ["never"]) == wanted
    assert ask(library, cron, len(there.split(", "))) == there


def ask(library: str, cron: str, count: int) -> str:
    """Return the first dates of a library in UTC, or that it raises."""
    try:
        if library == "croniter":
            theirs = croniter(cron, SINCE)
            return ", ".join(f"{theirs.get_next(datetime):%m-%d}" for _ in range(count))
        return ", ".join(f"{fire:%m-%d}" for _, fire in zip(range(count), CronSim(cron, SINCE), strict=False))
    except (CroniterBadDateError, CronSimError):
        return "error"


CHECKS: dict[Row, Callable[..., None]] = {
    ("field", "token", "values"): check_field,
    ("cron", "switches", "expands to"): check_switch,
    ("cron", "switches", "first dates from 2026-11-23 on"): check_dates,
    ("day fields and month", "dates by day of month", "dates by day of week", "followed"): check_counts,
    ("text", "same as"): check_alias,
    ("cron", "from", "next"): check_next,
    ("repeats every", "cron", "first dates from 2026-11-23 on"): check_repeat,
    ("text", "message"): check_refused,
    ("text of other crons", "message"): check_refused,
    ("timezone", "message"): check_zone,
    ("cron", "timezone", "switches", "day", "fires there"): check_dst,
    ("cron", "switches", "what the page says", "first fires from 2026-11-23 on"): check_page,
    ("cron", "switches", "here", "library", "there"): check_library,
}


def test_every_table_is_known_and_has_rows() -> None:
    found = tables()
    assert [header for header, _ in found] == list(CHECKS)
    assert all(rows for _, rows in found)


@pytest.mark.parametrize(
    ("header", "row"), [pytest.param(header, row, id=" ".join(row)) for header, rows in tables() for row in rows]
)
def test_row(header: Row, row: Row) -> None:
    CHECKS[header](*row)
