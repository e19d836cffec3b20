"""Messages of databases without what they quote: for errors that are raised while rows are computed. Pure.

A value may hold quotes itself, so everything from the first quote to the last one goes; numbers that stand without
quotes go too.
"""

import re

_QUOTED = re.compile(r"""['"].*['"]""", re.DOTALL)
_OPEN = re.compile(r"""['"].*""", re.DOTALL)
_NUMBER = re.compile(r"0x[0-9A-Fa-f]+|(?<![A-Za-z_\d])[-+]?\d(?:[\d.,:]|[eE][-+]?|-(?=\d))*")


def hide_values(text: str) -> str:
    """Return a message with ``'…'`` for all that is quoted, and ``…`` for each number outside of that."""
    begin, *rest = _QUOTED.split(text, maxsplit=1)
    shown = [_NUMBER.sub("…", part) for part in (begin, *rest)]
    return "'…'".join(shown) if rest else _OPEN.sub("'…'", shown[0])
