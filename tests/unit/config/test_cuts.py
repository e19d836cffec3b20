"""Keys that a file which is cut short takes from a job, told from what people take out."""

import json
from typing import Any

import pytest

from exporter.settings.connection import SalesforceExport
from exporter.settings.file import FileExport
from scheduler.config.build import ConfigError, parse
from scheduler.config.cut_off import HARMLESS, default_keys, lost_keys
from scheduler.config.document import document
from scheduler.jobs.definition import Job

HEAD = """
[connections.warehouse]
type = "duckdb"
[connections.crm]
type = "salesforce"
login_url = "https://example.my.salesforce.com"
client_id = "id"
client_secret = "secret"
[connections.files]
type = "file"
directory = "out"
"""
FIRST = """
[jobs.first]
source = "warehouse"
query = "select 1"
[jobs.first.export]
connection = "crm"
object = "Contact"
mode = "update"
key = "Id"
"""
LAST = """
[jobs.last]
cron = "@daily"
max_rejected = 5
source = "warehouse"
query = "select :region as a"
[jobs.last.export]
connection = "crm"
object = "Contact"
batch_size = 2000
retry_limit = 1
mode = "update"
key = "Ext_Id__c"
upsert = true
nulls = "clear"
[jobs.last.params]
region = "EU"
[[jobs.last.mapping.columns]]
column = "LastName"
source = "a"
[[jobs.last.mapping.columns]]
column = "Email"
source = "a"
nulls = "ignore"
"""
INLINE = """
[jobs.last]
export = { connection = "files", file = "a.csv" }
source = "warehouse"
query = "select 1"
cron = "@daily"
timezone = "Europe/Berlin"
changes = "new"
changes_key = "a"
retry_limit = 9
"""


def definitions(text: str) -> dict[str, dict[str, Any]]:
    return {name: json.loads(json.dumps(job.to_dict())) for name, job in parse(HEAD + text).jobs.items()}


def lost(before: str, after: str, *, defaults: bool = False) -> dict[str, tuple[str, ...]]:
    now = parse(HEAD + after)
    known = {name: each for name, each in definitions(before).items() if name in now.jobs}
    return lost_keys(now, known, defaults_before=default_keys(parse(HEAD + before)) if defaults else ())


def cut(text: str, behind: str) -> str:
    return text[: text.index(behind) + len(behind)]


UPSERT = ("export.key", "export.mode", "export.nulls", "export.upsert")


@pytest.mark.parametrize(
    ("behind", "keys"),
    [
        ('object = "Contact"', (*UPSERT, "mapping", "params")),
        ('object = "Contact"\nbatch_size = 20', (*UPSERT, "mapping", "params")),
        ("retry_limit = 1\n", (*UPSERT, "mapping", "params")),
        ('key = "Ext_Id__c"\n', ("export.nulls", "export.upsert", "mapping", "params")),
        ("upsert = true\n", ("export.nulls", "mapping", "params")),
        ('nulls = "clear"\n', ("mapping", "params")),
        ("[jobs.last.params]\n", ("mapping", "params")),
        ('region = "EU"\n', ("mapping",)),
        ('column = "LastName"\nsource = "a"\n', ("mapping",)),
        ('column = "Email"\nsource = "a"\n', ("mapping",)),
        ('nulls = "ignore"\n', ()),
    ],
)
def test_whatever_is_cut_off_behind_the_last_job_is_found(behind: str, keys: tuple[str, ...]) -> None:
    whole = FIRST + LAST
    place = whole.index("[jobs.last]")
    half = whole[:place] + cut(whole[place:], behind)
    assert lost(whole, half) == ({"last": keys} if keys else {})


def test_every_prefix_of_a_file_is_the_whole_file_or_a_fault_or_found() -> None:
    """What a job has left in any prefix that is a config is the same job, or one that differs in harmless keys only."""
    whole = FIRST + LAST
    known = definitions(whole)
    for end in range(len(FIRST), len(whole)):
        try:
            now = parse(HEAD + whole[:end])
        except ConfigError:
            continue
        found = lost_keys(now, {name: each for name, each in known.items() if name in now.jobs})
        for name, job in now.jobs.items():
            old, new = known[name], json.loads(json.dumps(job.to_dict()))
            differs = {key for key in old if key != "export" and old[key] != new[key]}
            differs |= {f"export.{key}" for key, value in old["export"].items() if new["export"][key] != value}
            assert differs <= HARMLESS or name in found, (whole[:end][-60:], differs)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('mode = "update"\nkey = "Ext_Id__c"\nupsert = true\nnulls = "clear"\n', 'mode = "append"\nnulls = "clear"\n'),
        ('mode = "update"\nkey = "Ext_Id__c"\nupsert = true\n', 'mode = "truncate"\n'),
        ("max_rejected = 5\n", ""),
        ('cron = "@daily"\n', ""),
        ("batch_size = 2000\nretry_limit = 1\n", ""),
        ('key = "Ext_Id__c"', 'key = "Other__c"'),
        ('nulls = "clear"', 'nulls = "ignore"'),
        ('source = "a"\nnulls = "ignore"', 'source = "b"'),
    ],
)
def test_what_a_person_writes_or_takes_out_elsewhere_is_not_asked_about(old: str, new: str) -> None:
    assert old in LAST
    export_last = LAST[: LAST.index("[jobs.last.params]")]
    for text in (LAST, export_last):
        if old in text:
            assert lost(FIRST + text, FIRST + text.replace(old, new)) == {}


def test_only_the_last_job_of_a_file_can_be_cut_short() -> None:
    without = FIRST.replace('mode = "update"\nkey = "Id"\n', "")
    assert lost(FIRST + LAST, without + LAST) == {}
    assert lost(LAST + FIRST, LAST + without) == {"first": ("export.key", "export.mode")}


def test_each_file_has_an_end_of_its_own() -> None:
    whole = HEAD + FIRST
    half = 'object = "Contact"\n'
    now = parse(whole, name="c.toml", fragments=[document(cut(LAST, half), "jobs.d/last.toml")])
    known = definitions(FIRST + LAST)
    assert lost_keys(now, known)["last"][:2] == ("export.key", "export.mode")


def test_in_a_table_without_headers_below_it_every_key_may_follow() -> None:
    assert lost(INLINE, cut(INLINE, 'query = "select 1"\n')) == {
        "last": ("changes", "changes_key", "cron", "timezone"),
    }
    assert lost(INLINE, cut(INLINE, 'cron = "@daily"\n')) == {"last": ("changes", "changes_key", "timezone")}
    assert lost(INLINE, cut(INLINE, 'changes_key = "a"\n')) == {}


DEFAULTS = """
[defaults]
timezone = "Europe/Berlin"
max_rejected = 5
retry_limit = 9
"""


def test_keys_for_all_jobs_count_where_their_table_is_cut_short_or_still_to_come() -> None:
    jobs = FIRST.replace("first", "one") + FIRST.replace("first", "two")
    both = {"one": ("max_rejected",), "two": ("max_rejected",)}
    assert lost(jobs + DEFAULTS, jobs + cut(DEFAULTS, 'Berlin"\n'), defaults=True) == both
    assert lost(jobs + DEFAULTS, jobs, defaults=True)["one"] == ("max_rejected", "timezone")
    assert lost(DEFAULTS + jobs, DEFAULTS.replace("max_rejected = 5\n", "") + jobs, defaults=True) == {}
    assert lost(jobs + DEFAULTS, jobs + cut(DEFAULTS, "max_rejected = 5\n"), defaults=True) == {}


def test_a_definition_that_cannot_be_read_has_lost_nothing_that_one_knows_of() -> None:
    now = parse(HEAD + FIRST)
    assert lost_keys(now, {"first": {"name": "first", "export": {"type": "ftp"}}}) == {}


def test_a_new_key_is_taken_for_one_that_matters_until_it_is_said_to_be_harmless() -> None:
    """Who adds a key decides here whether it may vanish for some seconds."""
    keys = set(Job.model_fields) | {
        f"export.{key}" for each in (SalesforceExport, FileExport) for key in each.model_fields
    }
    assert keys - HARMLESS - {"export"} == {
        *("cron", "timezone", "delay", "step", "day_match", "dst", "gap", "fold", "starts_at", "ends_on", "after"),
        *("catch_up", "catch_up_window", "overlap", "max_rejected", "params", "mapping", "segment"),
        *("changes", "changes_key", "max_deletes"),
        *("export.mode", "export.key", "export.upsert", "export.nulls", "export.naive_timezone", "export.file"),
    }
