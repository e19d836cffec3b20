import subprocess
import sys

import pytest
from support.runs.exports import make_connection

from exporter.failures import ExportError, FailureKind
from exporter.settings.connection import SalesforceExport
from exporter.settings.file import FileExport
from exporter.targets.registry import open_target
from exporter.targets.salesforce.target import SalesforceTarget


def test_a_salesforce_connection_opens_a_salesforce_target_without_a_request() -> None:
    target = open_target(make_connection("https://no-such-org.invalid"), SalesforceExport(object="Contact"))
    assert isinstance(target, SalesforceTarget)


def test_settings_of_two_kinds_are_refused() -> None:
    with pytest.raises(ExportError, match="NOT_A_TARGET") as caught:
        open_target(make_connection("https://no-such-org.invalid"), FileExport())
    assert caught.value.kind is FailureKind.CONFIGURATION


def test_to_know_how_to_open_targets_costs_none_of_their_libraries() -> None:
    code = (
        "import sys, exporter.targets.registry; print({'requests', 'simple_salesforce', 'pyarrow'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "set()"
