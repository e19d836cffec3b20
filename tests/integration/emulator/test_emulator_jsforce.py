"""jsforce, a client that nobody here wrote, against the emulator. Needs Node and npm's cache or registry."""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.salesforce.emulator_schema import AIRPORT

from exporter.emulator.org.org import USER_ID, USERNAME
from exporter.emulator.server import Emulator

_HERE = Path(__file__).parent / "jsforce"
_OLDEST_NODE = 18


def _missing() -> str:
    """Return why jsforce cannot run here, empty if it can."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return "Node.js is not installed"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(version.lstrip("v").partition(".")[0])
    return "" if major >= _OLDEST_NODE else f"Node.js {version.strip()} is older than {_OLDEST_NODE}"


@pytest.fixture(scope="session")
def jsforce(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install jsforce into a temporary folder, once for all workers, by its lock file."""
    missing = _missing()
    if missing:
        # The summary shows this reason (-ra); a CI without Node must not pass for one that has it.
        loud = "CI LACKS NODE, " if os.environ.get("CI") == "true" else ""
        pytest.skip(f"{loud}jsforce is not tested: {missing}")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home = shared / "jsforce"
    with (shared / "jsforce.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "installed").exists():
            shutil.copytree(_HERE, home)
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
            done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            (home / "installed").touch()
    return home


def _run(home: Path, script: str, emulator: Emulator, *more: str) -> dict[str, Any]:
    command = ["node", script, emulator.url, "emulator", "secret", *more]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _successes(loaded: dict[str, Any]) -> list[str]:
    return [result["success"] for result in loaded["results"]]


def test_jsforce_logs_in_describes_queries_and_loads_by_bulk_api_1(jsforce: Path) -> None:
    with Emulator(schema=AIRPORT) as emulator:
        found = _run(jsforce, "bulk1.mjs", emulator)
        records = {record["Ext__c"]: record for record in emulator.org.records("Airport__c")}
        binned = [record["Ext__c"] for record in emulator.org.records("Airport__c", deleted=True)]
    assert found["wrongSecret"] == "invalid_client: invalid client credentials"
    assert found["organization"].startswith("00D")
    assert {"Id:id", "Kind__c:picklist", "Elevation__c:double", "City__c:reference"} <= set(found["fields"])
    assert {"Account", "Airport__c"} <= set(found["objects"])

    inserted = found["inserted"]
    assert (inserted["mode"], inserted["states"], inserted["closed"]) == ("Serial", ["Completed"], "Closed")
    assert _successes(inserted) == [True, True, True, False]
    assert inserted["results"][3]["errors"] == [
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:Kind: bad value for restricted picklist field: huge:Kind__c --"
    ]
    assert found["upserted"]["mode"] == "Parallel"
    assert found["upserted"]["ids"][0] == inserted["ids"][0]
    assert _successes(found["deleted"]) == [True]
    assert found["unknownColumn"] == "Error: InvalidBatch : Field name not found : Nowhere__c"
    assert found["unknownObject"] == "InvalidJob: Unable to find object: Nothing__c"

    assert {key: record["Name"] for key, record in records.items()} == {
        "A": 'Zürich "ZRH"',
        "B": "two\r\nlines",
        "D": "Dublin",
    }
    assert records["A"]["Kind__c"] is None
    assert records["A"]["Elevation__c"] == 432
    assert binned == ["C"]
    assert found["records"] == [
        ["A", 'Zürich "ZRH"', 432, True, "Integration User"],
        ["B", "two\r\nlines", None, False, "Integration User"],
        ["D", "Dublin", None, False, "Integration User"],
    ]

    assert found["account"] == "Acme & Co"
    assert found["missingName"] == "REQUIRED_FIELD_MISSING: Required fields are missing: [Name]"
    assert found["malformed"].startswith("MALFORMED_QUERY: ")
    assert found["many"] == 4500
    assert found["fetched"] == 4501


def test_jsforce_comes_in_by_every_door_and_refreshes_what_expires(jsforce: Path) -> None:
    with Emulator(schema=AIRPORT) as emulator:
        found = _run(jsforce, "logins.mjs", emulator, USERNAME, "passwordtoken")
        accounts = [record["Name"] for record in emulator.org.records("Account")]
    assert found["user"] == found["soapUser"] == USER_ID
    assert found["codeTwice"] == "invalid_grant: invalid authorization code"
    assert found["afterExpiry"] == 0
    assert found["bulkAfterExpiry"] == [True]
    assert found["refreshes"] == 2
    assert found["made"] == [[True, []], [False, ["REQUIRED_FIELD_MISSING"]], [True, []]]
    assert found["together"] == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"]
    assert found["changed"] == [True, True]
    assert found["gone"] == [True]
    assert found["upserted"] == [[True, True], [True, True]]
    assert accounts == ["by bulk", "uno"]
    assert found["soapQuery"] == found["passwordQuery"] == 2
    assert "INVALID_LOGIN" in found["soapWrong"]
    assert "UNSUPPORTED_API_VERSION" in found["soapTooNew"]
    assert found["revoked"].startswith("invalid_grant")


def test_jsforce_loads_and_queries_by_bulk_api_2(jsforce: Path) -> None:
    with Emulator(schema=AIRPORT) as emulator:
        found = _run(jsforce, "bulk2.mjs", emulator)
        assert emulator.org.count("Airport__c") == 24_995
        names = {record["Ext__c"]: record["Name"] for record in emulator.org.records("Airport__c")}
    assert names["K24999"] == 'Łódź "24999"\n🛫'
    assert (found["successful"], found["created"], found["unprocessed"]) == (24_995, 24_995, 0)
    refused = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:Kind: bad value for restricted picklist field: huge:Kind__c --"
    assert found["failed"] == [[key, refused] for key in ("K0", "K10000", "K15000", "K20000", "K5000")]
    assert found["queried"] == sum(key.startswith("K1") for key in names)
    assert found["owner"] == "Integration User"
    assert "InvalidBatch : Field name not found : Nowhere__c" in found["unknownColumn"]
    assert "Unable to find object: Nothing__c" in found["unknownObject"]
    assert found["legacy"] == ["K1", "K2"]
