"""How much memory this process may take, and how what it no longer needs goes back to the system."""

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_M_MMAP_THRESHOLD = -3
"""``malloc.h`` of glibc."""
_LARGE = 4_000_000


def machine_memory(*, cgroups: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes of memory that this process may take at the most: the machine's, or its control groups' limit.

    Only version 2 of the control groups is looked at; a container and a systemd unit with ``MemoryMax=`` have one.
    """
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::")), "")
    for group in (cgroups / own, *(cgroups / own).parents):
        if not group.is_relative_to(cgroups):
            break
        try:
            limit = (group / "memory.max").read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if limit.isdecimal():
            found.append(int(limit))
    return min(found)


@functools.cache
def use_little_memory() -> None:
    """Have Arrow and the C library give memory back as soon as it is freed, as far as they can. Once is enough.

    Both keep for the next use what was freed, in pieces that the next batch may not fit into: of a run with rows of
    131,072 characters, 80 MB of 276. With this, glibc takes what is larger than 4 MB from the system by itself
    (``mallopt(3)``, whose threshold else grows to 32 MB with the first large piece that is freed), and Arrow
    asks glibc.
    """
    import pyarrow as pa  # noqa: PLC0415 - it takes 0.2 s, and the daemon gives memory back without it

    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Return to the system the memory that was freed but is still kept for the next use, by Arrow and by the C library.

    Takes some milliseconds; a long-running process calls it when a run has ended.
    """
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None:
        pyarrow.default_memory_pool().release_unused()
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], object]:
    """Return glibc's ``malloc_trim(3)``, or what does nothing with another C library."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return lambda _: None
    return found
