"""What a config file that is cut short takes from a job: keys that may still follow where it ends. Pure.

A prefix of TOML is TOML. Of a file that is written in parts, or was cut off, a job may be there without the keys that
say how its rows are written: an upsert is then an append. What was cut off can only stand behind the last line, and it
is only gone, not another value; that tells it from most of what people edit.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from scheduler.config.cut_text import find_cut
from scheduler.config.line_numbers import key_lines, open_table
from scheduler.config.sections import Config
from scheduler.errors.setting_faults import Keys
from scheduler.jobs.definition import Job

HARMLESS = frozenset(
    {
        *("description", "notify", "email", "timeout", "disable_after", "retry_limit", "initial_retry_delay"),
        *("name", "query", "query_file", "source"),  # without its query or its source a job is a fault
        *("export.connection", "export.type", "export.object", "export.retry_limit", "export.initial_retry_delay"),
        *("export.batch_size", "export.concurrency_mode", "export.bulk_api", "export.api_version"),
        *("export.hard_delete", "export.allow_empty"),  # less is deleted without them
    }
)
"""Keys of a job without which, for a while, no row goes wrong, none is lost or sent twice, and nothing fires."""
WITH_HEADER = frozenset({"mapping", "params", "segment"})
"""Keys of a job that may have a table of their own, ``[jobs.NAME.mapping]``, behind all that stands in other tables."""
OF_A_MODE = frozenset({"export.key", "export.upsert"})
"""Keys that go with ``mode = "update"``: who writes another mode takes them out."""


def default_keys(config: Config) -> list[str]:
    """Return what the file sets for all jobs, such as ``daemon.timezone`` and ``defaults.max_rejected``."""
    zone = config.daemon.timezone
    own = {key for key, value in config.defaults.items() if key != "timezone" or value != zone}
    return sorted({f"defaults.{key}" for key in own} | ({"daemon.timezone"} if zone != "UTC" else set()))


def lost_keys(
    config: Config,
    known: Mapping[str, Mapping[str, Any]],
    *,
    defaults_before: Collection[str] = (),
    pending: Mapping[str, Collection[str]] | None = None,
) -> dict[str, tuple[str, ...]]:
    """Return, by name, the keys that jobs of the config had and that may still follow at the end of their file.

    ``known`` are the definitions that jobs had, by name, as :meth:`Job.to_dict` returned them; ``defaults_before`` what
    :func:`default_keys` returned then. HARMLESS keys are left out. ``pending`` are the keys that were lost at an
    earlier look, and that nobody has confirmed: they stay lost while they are missing, whatever follows them by now.
    """
    pending = pending or {}
    ends: dict[str, Keys] = {}
    defaults = frozenset(_lost_defaults(config, defaults_before))
    lost: dict[str, tuple[str, ...]] = {}
    for name, definition in known.items():
        job = config.jobs[name]
        file = config.origins["jobs", name]
        if file not in ends:
            ends[file] = open_table(config.texts[file])
        end = ends[file]
        inside = end[2:] if end[:2] == ("jobs", name) else None
        gone = defaults.union(pending.get(name, ()))
        if (inside is not None or gone) and (keys := _lost(definition, job, config, inside, gone)):
            lost[name] = keys
    return lost


def cuts(config: Config, outlines: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return where files of the config were cut off, in words, each with the jobs that this may change.

    ``outlines`` are those of the texts as they were before, by file. In a job's own table the end of a line is no
    matter: :func:`lost_keys` tells what is missing there.
    """
    found: dict[str, frozenset[str]] = {}
    for file, text in config.texts.items():
        cut = find_cut(text, outlines.get(file, ""))
        if cut is None:
            continue
        table = open_table(text)
        if table[:1] == ("jobs",) and not cut.is_within:
            continue
        where = f"within line {cut.line}" if cut.is_within else f"behind line {cut.line}"
        name = ".".join(map(str, table))
        words = f"{file} ends {where}, {f'in [{name}]' if table else 'before any table'}, where it went on before"
        concerned = frozenset(config.jobs)
        if table[:1] == ("jobs",):
            concerned = frozenset({str(table[1])})
        elif table[:1] == ("connections",):
            uses = {job: (each.source, each.export.connection) for job, each in config.jobs.items()}
            concerned = frozenset(job for job, used in uses.items() if str(table[1]) in used)
        found[words] = concerned
    return found


def _lost_defaults(config: Config, before: Collection[str]) -> Iterator[str]:
    """Yield the keys for all jobs that are gone, and whose table is open at the end of the file, or still to come."""
    gone = set(before) - set(default_keys(config))
    if not gone:
        return
    text = config.texts[config.name]
    end, tables = open_table(text), key_lines(text)
    for table, _, key in (each.partition(".") for each in gone):
        if end == (table,) or (table,) not in tables:
            yield key


def _lost(
    definition: Mapping[str, Any], job: Job, config: Config, inside: Keys | None, gone: Collection[str]
) -> tuple[str, ...]:
    """Return what a job lost; ``inside`` is the table of it that the file ends in, None if it ends elsewhere.

    ``gone`` are keys that are lost wherever the file ends, if they are missing.
    """
    try:
        before = Job.from_dict(definition).to_dict()
    except ValueError:  # of another version, or zone data that are gone: there is nothing to compare with
        return ()
    after = job.to_dict()
    old, new = (
        {**each, **{f"export.{key}": value for key, value in each["export"].items()}} for each in (before, after)
    )
    own = {
        key for key in job.model_fields_set if key not in config.defaults or getattr(job, key) != config.defaults[key]
    }
    given = own | {f"export.{key}" for key in job.export.options.model_fields_set}
    is_same_mode = "export.mode" not in given or old.get("export.mode") == new.get("export.mode")
    lost: list[str] = []
    for key in sorted(old.keys() - HARMLESS - {"export"} - (frozenset() if is_same_mode else OF_A_MODE)):
        if key not in new or old[key] == new[key]:  # nothing changed, or the export is of another type
            continue
        table = "export" if key.startswith("export.") else key
        if key in given:
            may_follow = key in gone or (inside is not None and inside[:1] == (table,))
            is_cut = may_follow and key in WITH_HEADER and _is_part(new[key], old[key])
        else:
            may_follow = inside is not None and (inside in ((), ("export",)) if table == "export" else not inside)
            is_cut = may_follow or key in gone or (inside is not None and key in WITH_HEADER)
        if is_cut:
            lost.append(key)
    return tuple(lost)


def _is_part(new: object, old: object) -> bool:
    """Whether a value can be the beginning of another: what it has is the same, what it has not may still follow."""
    if new == old or not new:
        return True
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        return all(_is_part(value, old.get(key)) for key, value in new.items())
    if isinstance(new, list) and isinstance(old, list):
        return len(new) <= len(old) and all(map(_is_part, new, old))
    return False
