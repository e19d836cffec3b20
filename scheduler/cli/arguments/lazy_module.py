"""Modules that are imported when they are first used, so that `schedctl explain` does not pay for a database.

Used as ``if TYPE_CHECKING: from scheduler.operations import jobs`` and, otherwise, ``jobs = Late(...)``: the type
checker sees the module itself.
"""

from importlib import import_module
from typing import Any


class Late:
    """A module by its full name; importing it is put off until one of its attributes is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401 - whatever the module holds
        return getattr(import_module(self._name), attribute)
