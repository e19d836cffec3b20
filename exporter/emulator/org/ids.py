"""Record Ids: 18 characters, of which the first three name the object and the last three check the case. Pure."""

import re
from collections.abc import Iterator

from exporter.rows.key_forms import id_checksum, repair_case

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_POD = "5g0"
"""What stands between prefix and number: a real org's instance; this one is nobody's."""
_NUMBER_DIGITS = 9
_CHUNK = 5
_SHORT, _LONG = 15, 18
_LAST = 62**_CHUNK
# Two digits at a time, with their bits, for a batch's ten thousand Ids.
_PAIRS = [one + two for one in _DIGITS for two in _DIGITS]
_BITS = [int("A" <= digit <= "Z") for digit in _DIGITS]
_PAIR_BITS = [one | two << 1 for one in _BITS for two in _BITS]
_FORM = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?")


def make_id(prefix: str, number: int) -> str:
    """Return the Id of an object's record by its number, from 1."""
    return next(make_ids(prefix, number, 1))


def make_ids(prefix: str, first: int, count: int) -> Iterator[str]:
    """Yield the Ids of consecutive records; later ones sort behind earlier ones, byte by byte."""
    head = prefix + _POD
    done = 0
    while done < count:  # one round for all, but where the last five digits run over
        upper, lower = divmod(first + done, _LAST)
        stem = head + "".join(_DIGITS[upper // 62**place % 62] for place in range(_NUMBER_DIGITS - _CHUNK - 1, -1, -1))
        checks = id_checksum(stem)
        end = min(_LAST, lower + count - done)
        for number in range(lower, end):
            a, b, c = number // 238_328, number // 62 % 3_844, number % 62
            check = _CHECKS[_PAIR_BITS[a] | _PAIR_BITS[b] << 2 | _BITS[c] << 4]
            yield f"{stem}{_PAIRS[a]}{_PAIRS[b]}{_DIGITS[c]}{checks}{check}"
        done += end - lower


def normal_id(text: str) -> str | None:
    """Return the 18 characters of an Id given with 15 or 18 of them; None if it is none.

    Salesforce repairs the case of an 18-character Id by its checksum; this does too.
    """
    if not _FORM.fullmatch(text):
        return None
    if len(text) == _SHORT:
        return text + id_checksum(text)
    if id_checksum(text[:_SHORT]) == text[_SHORT:]:
        return text
    return repair_case(text)
