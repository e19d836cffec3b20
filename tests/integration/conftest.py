"""Fixtures for exports into a local Salesforce, which a module may replace with its own of that name."""

from collections.abc import Iterator

import pytest
from support.runs.cases import SCHEMA
from support.runs.crash import Nursery, nursery
from support.runs.whole_runs import SECRET

from exporter.emulator.server import Emulator


@pytest.fixture(scope="module")
def cradle() -> Iterator[Nursery]:
    """Start the process in which whole runs are performed, and killed."""
    with nursery("support.runs.whole_runs") as started:
        yield started


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Serve a local Salesforce that has things, and admits who gives the secret of a whole run's config."""
    with Emulator(schema=SCHEMA, client_secret=SECRET) as served:
        yield served
