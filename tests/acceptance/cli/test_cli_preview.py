"""`preview`, on the installed command: the rows as they would be sent, and nothing written."""

import json
from pathlib import Path

import pytest
from support.commands.command import Command

from exporter.emulator.server import Emulator

SCHEMA = {
    "objects": {
        "Thing__c": {
            "label": "Thing",
            "fields": {
                "Name": {"type": "string", "length": 80},
                "Seen__c": {"type": "datetime"},
                "Score__c": {"type": "double", "precision": 12, "scale": 2},
            },
        }
    }
}
JOB = """
[connections.warehouse]
type = "duckdb"
[connections.crm]
type = "salesforce"
login_url = "{url}"
client_id = "emulator"
client_secret = "secret"
retry_limit = 0
[jobs.things]
source = "warehouse"
query = '''
select 'Thing ' || i as name, timestamptz '2026-07-01 12:00:00.123456+02' as seen,
  case when i = 3 then 'nan'::double when i = 2 then null else i / 4 end as score
from range(1, {rows}) as numbers(i)
'''
[jobs.things.mapping]
columns = [{{ column = "Name", source = "name" }}, {{ column = "Seen__c", source = "seen" }},
           {{ column = "Score__c", source = "score" }}]
[jobs.things.export]
connection = "crm"
object = "Thing__c"
{options}
"""


def command(url: str, directory: Path, *, rows: int = 31, options: str = "") -> Command:
    made = Command(directory, JOB.format(url=url, rows=rows, options=options))
    made.config.chmod(0o600)
    return made


def test_the_first_rows_are_shown_as_they_would_be_sent(tmp_path: Path) -> None:
    with Emulator(schema=SCHEMA) as emulator:
        schedctl = command(emulator.url, tmp_path)
        shown = schedctl("preview", "things", "-n", "3")
        lines = [line.split("  ") for line in shown.out.splitlines()]
        assert [cell.strip() for cell in lines[1] if cell.strip()] == [
            "1",
            "Thing 1",
            "2026-07-01T10:00:00.123Z",
            "0.25",
        ]
        assert "NULL" in shown.out
        assert "row 3 would not be sent: NOT_A_NUMBER" in shown.err
        assert "the first 3 rows" in shown.err
        told = schedctl("preview", "things", "--json").json
        assert (len(told["rows"]), told["complete"], told["existing_records"]) == (20, False, None)
        assert told["rows"][1] == {
            "number": 2,
            "values": {"Name": "Thing 2", "Seen__c": "2026-07-01T10:00:00.123Z", "Score__c": None},
            "fault": None,
        }
        assert emulator.org.count("Thing__c") == 0
        assert schedctl("runs", "--json").json["runs"] == []


def test_a_truncate_says_how_many_records_it_would_delete(tmp_path: Path) -> None:
    with Emulator(schema=SCHEMA) as emulator:
        schedctl = command(emulator.url, tmp_path, rows=6)
        schedctl("run", "things", "--wait")
        schedctl = command(emulator.url, tmp_path, rows=1, options='mode = "truncate"')
        shown = schedctl("preview", "things")
        assert "4 records of Thing__c exist now: a run deletes them first" in shown.err
        assert "the query gives no rows: a run would fail and delete nothing" in shown.err
        assert "0 rows, and that is all" in shown.err
        assert schedctl("preview", "things", "--json").json["existing_records"] == 4
        words = ["--source", "warehouse", "--query", "select 1 as x", "--connection", "crm", "--object", "Thing__c"]
        dry = schedctl("add", "wipe", *words, "--mode", "truncate", "--hard-delete", "--dry-run")
        assert "4 records of Thing__c exist now" in dry.err
        assert emulator.org.count("Thing__c") == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('source = "seen"', 'source = "sen"'), 'no column "sen" to send: did you mean "seen"?'),
        (("select 'Thing", "selec 'Thing"), "syntax error"),
    ],
)
def test_what_is_wrong_with_the_query_or_the_mapping_is_said(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    schedctl = command("http://127.0.0.1:9", tmp_path)
    schedctl.write(schedctl.config.read_text(encoding="utf-8").replace(*change))
    assert words in schedctl("preview", "things", code=1).err
    assert schedctl("preview", "nothing", code=3).err
    assert schedctl("preview", "things", "-n", "0", code=2).err


UNFIT = """
[jobs.unfit]
source = "warehouse"
query = '''
select 'Thing ' || i as "Name",
  case i when 1 then '2026-11-23 03:00:00' when 2 then '2026-11-23T03:00:00' end as "Seen__c"
from range(1, 4) as numbers(i)
'''
[jobs.unfit.export]
connection = "crm"
object = "Thing__c"
mode = "truncate"
[jobs.never]
source = "warehouse"
query = '''select 'a' as "Name", '6/15/19' as "Seen__c" from range(2)'''
[jobs.never.export]
connection = "crm"
object = "Thing__c"
[jobs.mistyped]
source = "warehouse"
query = '''select 'a' as "Name", date '2026-11-23' as "Seen__c"'''
[jobs.mistyped.export]
connection = "crm"
object = "Thing__c"
"""


def test_rows_that_salesforce_would_refuse_are_shown_with_the_reason(tmp_path: Path) -> None:
    with Emulator(schema=SCHEMA) as emulator:
        schedctl = command(emulator.url, tmp_path, options=UNFIT)
        shown = schedctl("preview", "unfit")
        assert "row 1 would not be sent: INVALID_FIELD: Seen__c: the text is not a valid value" in shown.err
        assert "row 2 would be rejected unless the org corrects it first: INVALID_FIELD: Seen__c" in shown.err
        told = json.loads(schedctl("preview", "unfit", "--json").out)
        assert [bool(row["fault"]) for row in told["rows"]] == [True, False, False]
        assert [each["number"] for each in told["doubts"]] == [2]
        mistyped = schedctl("preview", "mistyped")
        words = (
            "Seen__c is a date (date32[day]), and the field Seen__c is of type datetime: "
            "write cast(Seen__c as timestamp)"
        )
        assert f"a run would fail: UNFIT_COLUMNS: Thing__c: {words} in the query" in mistyped.err
        assert "2026-11-23" in mistyped.out
        checked = schedctl("check", "--connections", code=1).out
        assert words in checked
        assert "ok     job unfit: 2 columns fit crm; of the first 3 rows 1 would be rejected: INVALID_FIELD" in checked
        assert "of the first 3 rows 1 would be rejected unless the org corrects them first: INVALID_FIELD" in checked
        assert "FAULT  job never: 2 columns fit crm; of the first 2 rows 2 would be rejected: INVALID_FIELD" in checked


def test_rows_are_shown_where_the_org_cannot_be_asked(tmp_path: Path) -> None:
    shown = command("http://127.0.0.1:9", tmp_path)("preview", "things", "-n", "2")
    assert "Thing 1" in shown.out
    assert "the target could not be asked whether it takes the rows: CONNECTION" in shown.err
