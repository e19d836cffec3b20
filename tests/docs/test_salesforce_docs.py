"""docs/salesforce.md: its table of parameters against the models, the flags and the tests that it names.

`python tests/docs/test_salesforce_docs.py` writes the table of what a field takes.
"""

import ast
import json
import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from exporter.settings.salesforce import SalesforceConnection, SalesforceExport
from exporter.targets.salesforce.preparation.type_table import FITS
from scheduler.cli.arguments.job_flags import FLAGS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "salesforce.md"
PAGE = FILE.read_text(encoding="utf-8")
TABLE = "exporter/targets/salesforce/preparation/type_table.py"
MARK = f"<!-- This table is written by tests/docs/test_salesforce_docs.py from {TABLE}. -->\n"
COLUMNS = {
    "boolean": "booleans",
    "integer": "integers, decimals without a scale",
    "float": "floats",
    "decimal": "decimals with a scale",
    "date": "dates",
    "timestamp": "timestamps",
    "time": "times",
    "uuid": "UUIDs",
    "binary": "binary (as base64)",
    "text": "text, JSON",
    "null": "a column of NULLs",
}
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in PAGE.partition("## Every parameter")[2].partition("\n## ")[0].splitlines()
    if line.startswith("| ") and "`" in line
]


def field_of(parameter: str, key: str) -> tuple[type, FieldInfo]:
    model = SalesforceConnection
    if key in SalesforceExport.model_fields and "(connection)" not in parameter:
        return SalesforceExport, SalesforceExport.model_fields[key]
    return model, model.model_fields[key]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_names_a_key_its_flag_its_default_and_a_test_that_exists(row: list[str]) -> None:
    parameter, key, flag, default, behaviour, test = row
    model, field = field_of(parameter, key.strip("`"))
    given = "" if field.is_required() else "none" if field.default is None else f"`{_plain(field.default)}`"
    assert default == given
    assert behaviour
    if model is SalesforceExport:
        assert flag.strip("`") in {known.name for known in FLAGS if known.key == ("export", key.strip("`"))}
    else:
        assert not flag
    path, _, name = test.strip("`").partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def test_every_parameter_of_the_page_has_a_row() -> None:
    keys = {row[1].strip("`") for row in ROWS}
    assert len(ROWS) == 21
    assert keys >= {"login_url", "auth", "username", "password", "client_id", "client_secret", "security_token"}
    assert keys >= {"session_id", "mode", "object", "upsert", "key", "hard_delete", "concurrency_mode", "batch_size"}
    assert keys >= {"api_version", "initial_retry_delay", "retry_limit", "token_file"}


def test_every_key_beyond_it_is_named() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert named >= SalesforceExport.model_fields.keys()


def fits() -> str:
    """Return the table of what a field takes."""
    kinds = ["boolean", "int", "number", "date", "datetime", "time", "id", "picklist", "text", "base64"]
    lines = [f"| the query's column | {' | '.join(kinds)} |", f"|---|{'---|' * len(kinds)}"]
    for word, name in COLUMNS.items():
        lines.append(f"| {name} | {' | '.join(FITS[word][kind].value for kind in kinds)} |")
    lines.append(f"| lists, structs, maps | {' | '.join(['no'] * len(kinds))} |")
    return "\n".join(lines)


def test_the_table_of_what_a_field_takes_is_that_of_the_code() -> None:
    assert COLUMNS.keys() == FITS.keys()
    written = PAGE.partition(MARK)[2].strip().partition("\n\n")[0]
    assert written == fits(), "run: python tests/docs/test_salesforce_docs.py"


if __name__ == "__main__":
    head, mark, rest = PAGE.partition(MARK)
    rest = rest.lstrip()
    rest = rest.partition("\n\n")[2] if rest.startswith("|") else rest
    FILE.write_text(f"{head}{mark}\n{fits()}\n\n{rest}", encoding="utf-8")
