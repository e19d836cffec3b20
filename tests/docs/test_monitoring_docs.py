"""docs/monitoring.md, its alerts and its dashboard against the metrics that there are.

`python tests/docs/test_monitoring_docs.py` writes the page's reference.
"""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from scheduler.config.build import parse
from scheduler.observability.counters import METRICS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "monitoring.md"
ALERTS = DOCS / "monitoring" / "alerts.yml"
DASHBOARD = DOCS / "monitoring" / "grafana.json"
MARK = "<!-- The rest is written by tests/docs/test_monitoring_docs.py from scheduler/observability/counters.py. -->\n"
SERIES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def reference() -> str:
    """Return the reference part of the page."""
    rows = [
        f"| `{name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
        for name, metric in METRICS.items()
    ]
    return "\n".join(["\n| metric | kind | labels | |", "|---|---|---|---|", *rows]) + "\n"


def used(text: str) -> set[str]:
    return set(re.findall(r"schedctl_[a-z_]+", text))


def known() -> set[str]:
    return {name + suffix for name, metric in METRICS.items() for suffix in SERIES[metric.kind]}


def test_the_page_tells_every_metric() -> None:
    assert PAGE.read_text(encoding="utf-8").partition(MARK)[2] == reference()


def test_alerts_and_dashboard_name_only_metrics_that_there_are() -> None:
    expressions = re.findall(r"^ +expr: (.+)$", ALERTS.read_text(encoding="utf-8"), re.MULTILINE)
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(expressions) >= 8
    assert used("\n".join(expressions)) <= known()
    assert used("\n".join(shown)) <= known()


def test_labels_in_expressions_are_those_of_their_metrics() -> None:
    text = ALERTS.read_text(encoding="utf-8") + DASHBOARD.read_text(encoding="utf-8").replace('\\"', '"')
    found = re.findall(r"(schedctl_[a-z_]+)\{([a-z]+)=", text)
    assert found
    for name, label in found:
        assert label in METRICS[name].labels


def test_the_names_follow_the_customs_of_prometheus() -> None:
    for name, metric in METRICS.items():
        assert name.startswith("schedctl_")
        assert name.endswith("_total") == (metric.kind == "counter"), name


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
def test_every_config_example_of_the_page_is_sound(block: str) -> None:
    assert parse(block).metrics.model_dump(exclude_none=True).items() >= tomllib.loads(block)["metrics"].items()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not there")
def test_promtool_takes_the_alerts() -> None:
    subprocess.run(["promtool", "check", "rules", str(ALERTS)], check=True)  # noqa: S607 - wherever it lies


if __name__ == "__main__":
    head, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    PAGE.write_text(head + mark + reference(), encoding="utf-8")
