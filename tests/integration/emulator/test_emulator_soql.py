"""Queries against the emulator's org."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.salesforce.emulator_org import ask, csv_of, load, open_org

from exporter.emulator.http import RefusalError
from exporter.emulator.org.org import USER_ID, Org


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Org]:
    with open_org(tmp_path) as opened:
        load(opened, "insert", "Name,Ext_Id__c,NumberOfEmployees\nAcme,acme,7\nBeta's,beta,\n", name="Account")
        header = ["Ext__c", "Name", "Elevation__c", "Open__c", "Opened__c", "Seen__c", "City__r.Ext_Id__c"]
        rows = [
            ["ZRH", "Zürich", "432", "true", "1948-01-01", "2026-03-04T00:00:00Z", "acme"],
            ["DUB", "100% Dublin", "73.5", "false", "", "2026-03-03T23:59:59Z", "acme"],
            ["LCY", "", "", "true", "1987-10-26", "", "beta"],
            ["AAA", "A_B", "-2", "false", "1900-01-01", "2026-03-05T00:00:00Z", "#N/A"],
        ]
        assert load(opened, "insert", csv_of(header, *rows)).errors == {}
        yield opened


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ("Ext__c = 'zrh'", "ZRH"),
        ("Ext__c != 'ZRH' AND City__c != null", "DUB LCY"),
        ("Elevation__c > -2 AND Elevation__c <= 432", "DUB ZRH"),
        ("Elevation__c = null", "LCY"),
        ("NOT Elevation__c > 0", "AAA LCY"),
        ("(Open__c = true OR Elevation__c < 0) AND Name != 'x'", "AAA LCY ZRH"),
        ("Ext__c IN ('zrh', 'DUB', 'none')", "DUB ZRH"),
        ("Ext__c NOT IN ('ZRH', 'DUB')", "AAA LCY"),
        ("Opened__c IN (1948-01-01, null)", "DUB ZRH"),
        ("Opened__c NOT IN (1948-01-01, null)", "AAA LCY"),
        ("Opened__c >= 1948-01-01", "LCY ZRH"),
        ("Seen__c < 2026-03-04T01:00:00+01:00", "DUB"),
        ("Seen__c = TODAY", "ZRH"),
        ("Seen__c = YESTERDAY", "DUB"),
        ("Seen__c = LAST_N_DAYS:1", "DUB ZRH"),
        ("Seen__c > TODAY", "AAA"),
        ("Seen__c != TODAY", "AAA DUB LCY"),
        ("Name LIKE '%dublin'", "DUB"),
        (r"Name LIKE '100\% %'", "DUB"),
        (r"Name LIKE 'A\_B'", "AAA"),
        ("City__r.Name = 'Beta\\'s'", "LCY"),
        ("City__r.NumberOfEmployees = null", "AAA LCY"),
        ("City__c IN (SELECT Id FROM Account WHERE Name = 'Acme')", "DUB ZRH"),
        ("City__c NOT IN (SELECT Id FROM Account WHERE NumberOfEmployees = 7)", "AAA LCY"),
        (f"OwnerId = '{USER_ID[:15]}'", "AAA DUB LCY ZRH"),
    ],
)
def test_conditions_choose_records(org: Org, where: str, keys: str) -> None:
    text = f"SELECT Ext__c FROM Airport__c WHERE {where} ORDER BY Ext__c"  # noqa: S608 - the queries are the test
    assert " ".join(ask(org, text)) == keys


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("select Ext__c from airport__C order by Elevation__c desc nulls last limit 2", ["ZRH", "DUB"]),
        ("SELECT a.Ext__c FROM Airport__c a ORDER BY a.Ext__c LIMIT 1 OFFSET 2", ["LCY"]),
        ("SELECT Airport__c.Ext__c FROM Airport__c ORDER BY Elevation__c, Ext__c LIMIT 1", ["LCY"]),
        ("SELECT Ext__c, Elevation__c, Open__c FROM Airport__c WHERE Ext__c = 'ZRH'", [("ZRH", 432.0, True)]),
        (
            "SELECT Opened__c, Seen__c FROM Airport__c WHERE Ext__c='ZRH'",
            [("1948-01-01", "2026-03-04T00:00:00.000+0000")],
        ),
        ("SELECT Ext__c, City__r.Owner.Name FROM Airport__c WHERE Ext__c = 'ZRH'", [("ZRH", "Integration User")]),
        ("SELECT Ext__c, City__r.Owner.Name FROM Airport__c WHERE Ext__c = 'AAA'", [("AAA", None)]),
        ("SELECT COUNT(Id), MAX(Elevation__c) top FROM Airport__c", [(4, 432.0)]),
        ("SELECT Open__c, COUNT(Id) FROM Airport__c GROUP BY Open__c ORDER BY Open__c", [(False, 2), (True, 2)]),
        ("SELECT COUNT_DISTINCT(City__c) FROM Airport__c", [2]),
        ("SELECT FIELDS(CUSTOM) FROM Account WHERE Name = 'Acme'", ["acme"]),
    ],
)
def test_queries_select_sort_and_count(org: Org, query: str, answer: list[Any]) -> None:
    assert ask(org, query) == answer


def test_deleted_records_are_in_query_all_only(org: Org) -> None:
    [record] = ask(org, "SELECT Id FROM Airport__c WHERE Ext__c = 'ZRH'")
    load(org, "delete", f"Id\n{record}\n")
    text = "SELECT Ext__c, IsDeleted FROM Airport__c WHERE Ext__c IN ('ZRH', 'DUB') ORDER BY Ext__c"
    assert ask(org, text) == [("DUB", False)]
    assert ask(org, text, deleted_too=True) == [("DUB", False), ("ZRH", True)]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "MALFORMED_QUERY"),
        ("SELECT", "MALFORMED_QUERY"),
        ("SELECT Id FROM", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = 'a' OR Name = 'b' AND Name = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = 'open", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account LIMIT -1", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account; DROP TABLE Account", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE " + "(" * 60 + "Name = 'a'" + ")" * 60, "MALFORMED_QUERY"),
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "MALFORMED_QUERY"),
        ("SELECT Name, COUNT(Id) FROM Account", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE"),
        ("SELECT Id FROM Nothing__c", "INVALID_TYPE"),
        ("SELECT Nowhere__c FROM Account", "INVALID_FIELD"),
        ('SELECT "Name" FROM Account', "MALFORMED_QUERY"),
        ("SELECT Nothing__r.Name FROM Account", "INVALID_FIELD"),
        ("SELECT Who.Name FROM Task", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE NumberOfEmployees = '7'", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Name = 7", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Name = TODAY", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE CreatedDate = SOMEDAY", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE CreatedDate > 2026-02-30T00:00:00Z", "MALFORMED_QUERY"),
        ("SELECT SUM(Name) FROM Account", "INVALID_FIELD"),
    ],
)
def test_what_is_no_query_is_refused(org: Org, query: str, code: str) -> None:
    with pytest.raises(RefusalError) as refused:
        ask(org, query)
    assert (refused.value.status, refused.value.code) == (400, code)


def test_quotes_in_a_value_stay_a_value(org: Org) -> None:
    assert ask(org, r"""SELECT Id FROM Account WHERE Name = 'x\' OR Name != \'' """) == []
    assert ask(org, "SELECT Id FROM Account WHERE Name = '\" OR 1=1 --'") == []
