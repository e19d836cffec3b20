"""The file's jobs against the stored ones."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.config.merge import NameConflicts, UnconfirmedEdit, check_whole, merge
from scheduler.jobs.definition import Job, parse_job

TYPES = {"warehouse": "duckdb", "files": "file"}


@dataclass(frozen=True, kw_only=True)
class Stored:
    name: str
    origin: str
    definition: dict[str, Any]


def job(name: str, query: str = "select 1", **keys: Any) -> Job:
    return parse_job(
        name, {"source": "warehouse", "query": query, "export": {"connection": "files"}, **keys}, connections=TYPES
    )


def stored(definition: Job, origin: str = "file") -> Stored:
    return Stored(name=definition.name, origin=origin, definition=json.loads(json.dumps(definition.to_dict())))


def test_new_changed_and_gone_jobs_are_told_apart() -> None:
    file_jobs = {"new": job("new"), "changed": job("changed", "select 2"), "same": job("same", cron="@daily")}
    changes = merge(file_jobs, [stored(job("changed")), stored(file_jobs["same"]), stored(job("gone"))])
    assert set(changes.put) == {"new", "changed"}
    assert changes.put["changed"].query == "select 2"
    assert (changes.remove, changes.unchanged, changes.replaced) == ({"gone"}, {"same"}, {"changed"})


def test_jobs_of_the_command_line_are_left_alone() -> None:
    changes = merge({}, [stored(job("mine"), "cli")])
    assert (changes.put, changes.remove, changes.unchanged) == ({}, frozenset(), frozenset())


def test_a_name_in_both_places_names_every_such_job_and_both_ways_out() -> None:
    with pytest.raises(NameConflicts, match=r"jobs\.a: a job of that name was added by schedctl add") as caught:
        merge({"b": job("b"), "a": job("a")}, [stored(job("a"), "cli"), stored(job("b"), "cli")])
    assert caught.value.names == ("a", "b")
    assert "schedctl remove b" in str(caught.value).splitlines()[1]


def test_the_same_definition_as_an_older_version_wrote_it_is_no_change() -> None:
    old = stored(job("a"))
    del old.definition["max_rejected"], old.definition["description"]
    assert merge({"a": job("a")}, [old]).unchanged == {"a"}


@pytest.mark.parametrize("definition", [{}, {"export": {}}, {"name": "a", "export": {"type": "ftp"}}])
def test_a_definition_that_cannot_be_read_is_put_anew(definition: dict[str, Any]) -> None:
    assert set(merge({"a": job("a")}, [Stored(name="a", origin="file", definition=definition)]).put) == {"a"}


JOBS = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(st.sampled_from(["select 1", "select 2"]), st.sampled_from(["", "@daily"]))
)


@settings(deadline=None)
@given(JOBS, JOBS)
def test_putting_and_removing_the_changes_makes_the_stored_jobs_those_of_the_file(
    before: dict[str, tuple[str, str]], after: dict[str, tuple[str, str]]
) -> None:
    known = {name: job(name, query, cron=cron) for name, (query, cron) in before.items()}
    wanted = {name: job(name, query, cron=cron) for name, (query, cron) in after.items()}
    changes = merge(wanted, map(stored, known.values()))
    assert {**{name: each for name, each in known.items() if name not in changes.remove}, **changes.put} == wanted
    assert changes.unchanged == {name for name in known.keys() & wanted.keys() if known[name] == wanted[name]}
    again = merge(wanted, map(stored, wanted.values()))
    assert (again.put, again.remove) == ({}, frozenset())


@pytest.mark.parametrize(
    ("before", "after", "is_held"),
    [
        ("a", "", True),
        ("a", "b", True),
        ("ab", "a", False),
        ("abc", "ab", False),
        ("abc", "a", True),
        ("abc", "axy", True),
        ("abcd", "ab", False),
        ("abcd", "a", True),
        ("abc", "abcde", False),
        ("", "ab", False),
    ],
)
def test_an_edit_that_removes_more_than_half_of_the_files_jobs_takes_a_person(
    before: str, after: str, *, is_held: bool
) -> None:
    """A new name is a removal too: what was kept of the old one does not go with it."""
    known = [*map(stored, map(job, before)), *(stored(job(name), "cli") for name in ("mine", "yours", "theirs"))]
    changes = merge({name: job(name) for name in after}, known)
    if not is_held:
        check_whole(changes, known, name="config.toml")
        return
    with pytest.raises(UnconfirmedEdit, match=r"^config\.toml: .* schedctl reload --confirm") as held:
        check_whole(changes, known, name="config.toml")
    assert (held.value.names, held.value.total) == (tuple(sorted(set(before) - set(after))), len(before))


def test_a_confirmed_removal_passes_and_no_other_one() -> None:
    known = list(map(stored, map(job, "abc")))
    check_whole(merge({"c": job("c")}, known), known, name="", confirmed={"a", "b"})
    check_whole(merge({"c": job("c")}, known), known, name="", confirmed={"a", "b", "c"})
    with pytest.raises(UnconfirmedEdit, match="all 3 jobs"):
        check_whole(merge({}, known), known, name="", confirmed={"a", "b"})


def test_of_many_removed_jobs_the_first_are_named() -> None:
    known = [stored(job(f"job_{number:02}")) for number in range(40)]
    with pytest.raises(UnconfirmedEdit, match=r"\(job_00, .*, job_09 and 30 more\)"):
        check_whole(merge({}, known), known, name="")
