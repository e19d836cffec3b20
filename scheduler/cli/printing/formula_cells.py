"""Cells that a spreadsheet would take for a formula: https://owasp.org/www-community/attacks/CSV_Injection. Pure."""

import re

_FORMULA = re.compile(r"[\s\ufeff\x00-\x1f]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
"""What one may begin with, in any width; and what some programs drop before it."""
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]+)?")


def guard(cell: str) -> str:
    """Return a cell that every spreadsheet shows as it is: with a ' before what would be executed.

    Numbers stay numbers. A cell that begins with a ' already gets none, so that nothing can be taken off twice.
    """
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell
