"""Zone tables against zoneinfo itself; which names are zones; the version of the zone data."""

import random
import re
import threading
from datetime import UTC, datetime, timedelta
from importlib import resources
from zoneinfo import ZoneInfo, available_timezones

import pytest

from scheduler.schedules.timezones import CAPITALS, Zone, ZoneError, tzdata_version, zone

HOUR, DAY = 3600, 86_400
FROM_1990, TO_2037, TO_2110 = 631_152_000, 2_145_916_800, 4_417_977_600
SHARDS = 8


def full_names() -> list[str]:
    names = available_timezones() - {"Factory"}
    return sorted(name for name in names if name in CAPITALS or (name[0].isupper() and not name.isupper()))


def real_offset(info: ZoneInfo, instant: int) -> int:
    delta = datetime.fromtimestamp(instant, UTC).astimezone(info).utcoffset() or timedelta()
    return delta.days * DAY + delta.seconds


def check_table(name: str, low: int, high: int, step: int) -> int:
    table, info = zone(name).table(low, high), ZoneInfo(name)
    for start, offset in zip(table.starts[1:], table.offsets[1:], strict=True):
        assert real_offset(info, start) == offset, (name, start)
        assert real_offset(info, start - 1) != offset, (name, start)
    looks = range(low, high, step)
    for instant in looks:
        assert table.offsets[table.index(instant)] == real_offset(info, instant), (name, instant)
    return len(looks)


@pytest.mark.parametrize("name", ["America/New_York", "Africa/Casablanca", "Asia/Gaza", "Pacific/Apia"])
def test_a_table_is_what_zoneinfo_says(name: str) -> None:
    assert check_table(name, FROM_1990, TO_2110, 5 * DAY + 7 * HOUR) > 8_000


def test_a_table_is_the_same_in_whatever_order_its_years_are_asked_for() -> None:
    rng = random.Random(7)
    for name in ("America/New_York", "Africa/Casablanca", "Asia/Tehran", "Africa/Monrovia"):
        asked = Zone(name)
        years = [rng.randint(1900, 2150) for _ in range(12)]
        for year in years:
            instant = int(datetime(year, rng.randint(1, 12), 1, tzinfo=UTC).timestamp())
            assert asked.table(instant, instant).offsets[asked.table(instant, instant).index(instant)] == real_offset(
                ZoneInfo(name), instant
            )
        low, high = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1901, 2149))
        grown, at_once = asked.table(low, high), Zone(name).table(low, high)
        assert (
            dict(zip(at_once.starts, at_once.offsets, strict=True)).items()
            >= {
                start: offset for start, offset in zip(grown.starts, grown.offsets, strict=True) if low < start < high
            }.items()
        )


def test_threads_that_ask_for_other_years_get_theirs() -> None:
    asked, info, wrong = Zone("Europe/Berlin"), ZoneInfo("Europe/Berlin"), []

    def ask(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(40):
            instant = rng.randint(FROM_1990, TO_2110)
            table = asked.table(instant, instant)
            if table.offsets[table.index(instant)] != real_offset(info, instant):
                wrong.append(instant)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_table_is_what_zoneinfo_says_each_hour_from_1990_to_2037_and_each_day_to_2110(shard: int) -> None:
    names = full_names()[shard::SHARDS]
    looks = sum(
        check_table(name, FROM_1990, TO_2037, HOUR) + check_table(name, TO_2037, TO_2110, DAY) for name in names
    )
    print(f"\nzone tables {shard + 1}/{SHARDS}: {len(names)} zones, {looks:,} looks, 0 differences")  # noqa: T201 - the figure is the point


ABBREVIATIONS = {"CET", "EET", "EST", "GMT", "HST", "MET", "MST", "WET"}


def test_each_name_of_the_tz_database_is_a_zone_or_an_abbreviation_or_no_place() -> None:
    listed = set(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())
    assert listed > CAPITALS
    refused = set()
    for name in listed:
        try:
            zone(name)
        except ZoneError:
            refused.add(name)
    assert refused == ABBREVIATIONS | {"Factory"}


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("EST5EDT", "America/New_York"),
        ("CST6CDT", "America/Chicago"),
        ("MST7MDT", "America/Denver"),
        ("PST8PDT", "America/Los_Angeles"),
        ("GB", "Europe/London"),
        ("UCT", "UTC"),
    ],
)
def test_a_name_in_capitals_has_the_times_of_the_place_whatever_version_of_the_zone_data_there_is(
    name: str, same: str
) -> None:
    names, sames = ZoneInfo(name), ZoneInfo(same)
    now = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
    assert all(real_offset(names, at) == real_offset(sames, at) for at in range(now, TO_2037, 7 * DAY + HOUR))


@pytest.mark.parametrize("name", ["UTC", "America/New_York", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "Japan"])
def test_full_names_are_zones(name: str) -> None:
    assert zone(name).name == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PST", "is an abbreviation, which stands for no fixed zone; write America/Los_Angeles"),
        ("est", "is an abbreviation, which stands for no fixed zone; write America/New_York, or Etc/GMT+5 for UTC-5"),
        ("MST", "write America/Denver, or Etc/GMT+7 for UTC-7 all year"),
        ("HST", "write Pacific/Honolulu"),
        ("GMT", "is an abbreviation, which stands for no fixed zone; write UTC, or Europe/London"),
        ("utc", "did you mean UTC?"),
        ("america/new_york", "did you mean America/New_York?"),
        ("America/New York", "did you mean America/New_York?"),
        ("America/NewYork", "did you mean America/New_York?"),
        ("Europe/Kyviv", "did you mean Europe/Kyiv?"),
        ("gb", "did you mean GB?"),
        ("EST4EDT", "did you mean EST5EDT?"),
        ("right/America/New_York", "did you mean America/New_York?"),
        ("localtime", "is no IANA time zone"),
        ("Factory", "is no IANA time zone"),
        ("America", "is no IANA time zone"),
        ("America/", "is no IANA time zone"),
        ("America/../../etc/passwd", "is no IANA time zone"),
        ("/etc/localtime", "is no IANA time zone"),
        ("Ame\x00rica", "is no IANA time zone"),
        ("\uff21merica/New_York", "did you mean America/New_York?"),
        ("+09:00", "or Etc/GMT-9 for UTC+9 all year"),
        ("utc+9", "or Etc/GMT-9 for UTC+9 all year"),
        ("GMT-0330", "is an offset, which knows no summer time; write a place such as America/New_York"),
        ("UTC-13", "is an offset, which knows no summer time; write a place such as America/New_York"),
        ("", "write one such as America/New_York, or UTC"),
        ("X" + "y" * 5_000, "is no IANA time zone"),
    ],
)
def test_other_names_are_refused_with_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(ZoneError) as caught:
        zone(name)
    assert hint in str(caught.value)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_the_version_of_the_zone_data_is_a_year_and_a_letter_or_the_packages_own() -> None:
    assert re.fullmatch(r"20\d\d[a-z]|20\d\d\.\d+", tzdata_version())
