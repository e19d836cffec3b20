"""`preview --changes`, `resync` and runs that send changes, on the installed command."""

import json
from pathlib import Path

import duckdb
from support.commands.command import Command
from support.runs.cases import SCHEMA

from exporter.emulator.server import Emulator

CONFIG = """
[connections.warehouse]
type = "duckdb"
path = "warehouse.duckdb"
[connections.crm]
type = "salesforce"
login_url = "{url}"
client_id = "emulator"
client_secret = "secret"
retry_limit = 0
[jobs.things]
source = "warehouse"
query = "select * from things"
changes = "mirror"
max_deletes = 2
[jobs.things.export]
connection = "crm"
object = "Thing__c"
mode = "update"
key = "Ext_Id__c"
upsert = true
[jobs.plain]
source = "warehouse"
query = "select * from things"
export = {{ connection = "crm", object = "Thing__c" }}
"""


def shop(url: str, directory: Path) -> Command:
    made = Command(directory, CONFIG.format(url=url))
    made.config.chmod(0o600)
    return made


def put(directory: Path, *rows: tuple[str, str]) -> None:
    with duckdb.connect(str(directory / "warehouse.duckdb")) as connection:
        connection.execute('create or replace table things ("Ext_Id__c" varchar, "Name" varchar)')
        connection.executemany("insert into things values (?, ?)", [list(row) for row in rows])


def test_a_preview_counts_what_a_run_then_does_and_a_resync_sends_all_again(tmp_path: Path) -> None:
    with Emulator(schema=SCHEMA) as emulator:
        schedctl = shop(emulator.url, tmp_path)
        put(tmp_path, ("a", "A"), ("b", "B"), ("c", "C"))
        assert "3 new, 0 changed, 0 unchanged, 0 gone" in schedctl("preview", "things", "--changes").out
        assert "3 read, 3 accepted, 0 rejected" in schedctl("run", "things", "--wait").out
        put(tmp_path, ("a", "A"), ("b", "Bee"), ("d", "D"))
        shown = json.loads(schedctl("preview", "things", "--changes", "--json").out)
        assert shown["changes"] == {"new": 1, "changed": 1, "unchanged": 1, "gone": 1}
        assert [row["values"]["Ext_Id__c"] for row in shown["rows"]] == ["b", "d"]
        ran = schedctl("run", "things", "--wait").out
        assert "3 read, 2 accepted, 0 rejected, 1 unchanged, 1 deleted" in ran
        number = ran.split()[1]  # 2, or 3 if it was asked for in the second of the first one
        assert "1 new, 1 changed; 1 gone" in schedctl("runs", "show", number).out
        assert "unchanged" in schedctl("runs").out.splitlines()[0]
        assert schedctl("resync", "things").out.startswith("the next run of things sends every row again (3 keys")
        assert "0 new, 3 changed, 0 unchanged, 0 gone" in schedctl("preview", "things", "--changes").out
        assert "3 read, 3 accepted" in schedctl("run", "things", "--wait").out
        assert "3 read, 0 accepted, 0 rejected, 3 unchanged" in schedctl("run", "things", "--wait").out
        assert sorted(str(each["Name"]) for each in emulator.org.records("Thing__c")) == ["A", "Bee", "D"]
        assert not any((tmp_path / "state" / "schedctl" / "spool").iterdir())


def test_a_mirror_that_would_delete_too_much_says_so_before_and_then(tmp_path: Path) -> None:
    with Emulator(schema=SCHEMA) as emulator:
        schedctl = shop(emulator.url, tmp_path)
        put(tmp_path, ("a", "A"), ("b", "B"), ("c", "C"))
        schedctl("run", "things", "--wait")
        put(tmp_path, ("z", "Z"))
        preview = schedctl("preview", "things", "--changes")
        assert "a run would fail: TOO_MANY_GONE: 3 of 3 rows left the result" in preview.err
        assert "TOO_MANY_GONE" in schedctl("run", "things", "--wait", code=1).out
        assert emulator.org.count("Thing__c") == 3


def test_what_makes_no_sense_is_refused_in_one_line(tmp_path: Path) -> None:
    schedctl = shop("http://127.0.0.1:1", tmp_path)
    put(tmp_path, ("a", "A"))
    assert 'changes = "all"' in schedctl("resync", "plain", code=1).err
    assert "--changes is for jobs with" in schedctl("preview", "plain", "--changes", code=2).err
    assert "has sent nothing yet" in schedctl("resync", "things", code=1).err
    assert "exclude each other" in schedctl("resync", "things", "--sent", "--adopt", code=2).err
    assert "there is no job" in schedctl("resync", "nobody", code=3).err
    wrong = ("--to", "crm", "--object", "Thing__c", "--changes", "new", "--source", "warehouse", "--query", "select 1")
    assert "--changes-key is missing" in schedctl("add", "mine", *wrong, code=2).err
