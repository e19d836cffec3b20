"""`preview`, on the installed command: the rows as they would be sent, and nothing written."""

from pathlib import Path

import pytest
from support.command import Command

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
        words = ["--source", "warehouse", "--query", "select 1 as x", "--to", "crm", "--object", "Thing__c"]
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
