"""Which config files were read, and in what state: so that one can tell whether anything of them has changed since."""

import glob
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

SYNCED = "synced_config"
"""The key in ``setting``. Empty where the last to bring the jobs in line did not say."""
SETTLED = timedelta(seconds=2)
"""A file that changed less long ago may not be whole yet, or may change again within its file system's tick, unseen."""

Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a config was made of, as it was just before it was read: files with their stamps, and what patterns matched.

    A file that was not there has no stamp; it counts as changed once it is there.
    """

    config: str
    stamps: Mapping[str, Stamp | None] = field(default_factory=dict)
    patterns: tuple[str, ...] = ()
    """What ``include`` names, relative to the directory of the config file."""
    matched: tuple[str, ...] = ()
    unlisted: Mapping[str, str] = field(default_factory=dict)
    """Why a directory that a pattern looks into cannot be listed, by pattern: what it holds is then not known."""

    def with_files(self, files: Iterable[Path]) -> "Seen":
        """Return this with more files, as they are now."""
        return replace(self, stamps={**self.stamps, **{str(file): _stamp(file) for file in files}})

    def with_patterns(self, base: Path, patterns: tuple[str, ...]) -> "Seen":
        """Return this with what the patterns match now."""
        matched = tuple(map(str, matches(base, patterns)))
        return replace(self, patterns=patterns, matched=matched, unlisted=_unlisted(base, patterns))

    def is_current(self) -> bool:
        """Whether nothing was edited, replaced, renamed, added or removed since."""
        if any(_stamp(Path(file)) != stamp for file, stamp in self.stamps.items()):
            return False
        if not self.patterns:
            return True
        now = self.with_patterns(Path(self.config).parent, self.patterns)
        return (now.matched, now.unlisted) == (self.matched, self.unlisted)

    def is_settled(self, now: datetime) -> bool:
        """Whether all of it was left alone for SETTLED, files that were added or removed included."""
        base = Path(self.config).parent
        fixed = (itertools.takewhile(lambda part: not glob.has_magic(part), Path(each).parts) for each in self.patterns)
        directories = (base.joinpath(*parts) for parts in fixed)
        return _are_older([*self.stamps.values(), *map(_stamp, directories)], now - SETTLED)

    def mark(self, now: datetime) -> str:
        """Return this as text that :func:`is_as_seen` reads.

        Empty where it proves nothing: a file is missing, or changed just before ``now`` and may change again unseen.
        """
        if None in self.stamps.values() or not _are_older(self.stamps.values(), now - SETTLED):
            return ""
        kept = {"config": self.config, "files": self.stamps}
        return json.dumps(kept | ({"patterns": self.patterns, "matched": self.matched} if self.patterns else {}))


def is_as_seen(path: Path, mark: str | None) -> bool:
    """Whether the config file at ``path``, and all that it is made of, are still what ``mark`` describes."""
    if not mark:
        return False
    known = json.loads(mark)
    if known["config"] != str(path):
        return False
    return Seen(
        config=known["config"],
        stamps={file: tuple(stamp) for file, stamp in known["files"].items()},
        patterns=tuple(known.get("patterns", ())),
        matched=tuple(known.get("matched", ())),
    ).is_current()


def matches(base: Path, patterns: Iterable[str]) -> list[Path]:
    """Return the files that the patterns match below ``base``, by path, each once; hidden ones only where asked for."""
    found = {base / name for pattern in patterns for name in glob.glob(pattern, root_dir=base, recursive=True)}  # noqa: PTH207 - Path.glob matches hidden files, such as an editor's lock
    return sorted(path for path in found if not os.path.isdir(path))  # noqa: PTH112 - Path.is_dir raises where it may not look


def _unlisted(base: Path, patterns: Iterable[str]) -> dict[str, str]:
    """Return why a directory cannot be listed, by the pattern that looks into it: ``glob`` takes it for empty."""
    found = {pattern: next(_faults_of(base, Path(pattern).parts), None) for pattern in patterns}
    return {pattern: fault for pattern, fault in found.items() if fault is not None}


def _faults_of(base: Path, parts: tuple[str, ...]) -> Iterator[str]:
    """Yield why directories that a pattern of these parts looks into cannot be looked into; the first has to exist."""
    first = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    for at in range(first, len(parts)):
        for directory in _looked_into(base, parts, at, first):
            try:
                if glob.has_magic(parts[at]):
                    os.scandir(directory).close()
                else:
                    (directory / parts[at]).stat()
            except FileNotFoundError:
                if at == first:
                    yield f"there is no directory {directory}: make it (it may be empty), or take the pattern out"
            except OSError as error:
                yield f"{directory} cannot be listed: {error.strerror}"


def _looked_into(base: Path, parts: tuple[str, ...], at: int, first: int) -> list[Path]:
    """Return the directories in which ``glob`` looks for what matches the part at this position."""
    found = [base.joinpath(*parts[:first])] if at == first else []
    if parts[at] == "**" or at > first:
        pattern = os.path.join(*parts[: at + (parts[at] == "**")], "")  # noqa: PTH118 - the last / asks for directories
        found += [base / name for name in glob.glob(pattern, root_dir=base, recursive=True)]  # noqa: PTH207 - as in matches
    return found


def _are_older(stamps: Iterable[Stamp | None], limit: datetime) -> bool:
    """Whether all that is there was changed, or renamed to its place, before ``limit``."""
    newest = limit.timestamp() * 1e9
    return all(stamp is None or max(stamp[0], stamp[1]) < newest for stamp in stamps)


def _stamp(file: Path) -> Stamp | None:
    """Return what changes when a file is edited, replaced, or renamed to its place; None if there is none."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
