"""Tables within a width: where they are wrapped, and what is never cut."""

import pytest

from scheduler.cli.printing.output import put_table

LONG = "https://example.com/a-word-that-is-longer-than-half-a-line-of-eighty-columns"


def shown(capsys: pytest.CaptureFixture[str], columns: list[str], *rows: list[str]) -> list[str]:
    put_table(columns, rows)
    return capsys.readouterr().out.splitlines()


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")


def test_what_has_blanks_is_wrapped_before_a_word_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, ["id", "slot", "outcome", "reason"], ["1", "2026-11-02T08:00:00Z", "skipped", "overlapping"])
    assert [line.split() for line in lines] == [
        ["id", "slot", "outcome", "reason"],
        ["1", "2026-11-02", "skipped", "overlapping"],
        ["08:00:00Z"],
    ]


def test_a_table_with_room_is_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, ["id", "slot"], ["1", "2026-11-02T08:00:00Z"])[1] == "1   2026-11-02 08:00:00Z"


def test_a_word_that_fits_nowhere_is_broken_and_nothing_of_it_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, ["slot", "address"], ["2026-11-02T08:00:00Z", LONG])
    assert all(len(line) <= 40 for line in lines)
    assert "".join(line[12:] for line in lines[1:]) == LONG
    assert lines[1].startswith("2026-11-02  https://")


def test_more_columns_than_a_line_has_room_for_are_still_shown(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"c{number}" for number in range(30)]
    assert shown(capsys, names, names), "badly, but shown"
