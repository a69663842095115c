"""What lies in charts/ is what its sources make, and the data in it speaks of things that exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.project import ROOT, pyproject

CHARTS = ROOT / "charts"
SERIES = r"\bhpi_(?!paddlex_io)[a-z_]+"
SUFFIXES = ("_total", "_bucket", "_count", "_sum")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "generator", *arguments],
        env={**os.environ, "PYTHONPATH": str(CHARTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_generated_files_are_what_their_sources_make() -> None:
    checked = run("--check")

    assert (checked.returncode, checked.stdout) == (0, ""), "run `make chart`"


def test_nothing_but_generated_kinds_lies_in_the_charts_crds() -> None:
    in_chart, made = ({path.name for path in folder.glob("*")} for folder in (CHARTS / "hpi" / "crds", ROOT / "crds"))

    assert in_chart == {name for name in made if name.endswith(".yaml")}


def test_the_chart_is_of_the_release() -> None:
    chart = yaml.safe_load((CHARTS / "hpi" / "Chart.yaml").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHARTS / "hpi" / "values.yaml").read_text(encoding="utf-8"))

    release = pyproject()["project"]["version"]
    assert {chart["version"], chart["appVersion"], values["runtimes"]["hpi-cpu"]["spec"]["version"]} == {release}


def known_series() -> set[str]:
    sources = [*(ROOT / "agent" / "src").rglob("*.py"), *(ROOT / "operator" / "src").rglob("*.py")]
    return {name for path in sources for name in re.findall(r'"(hpi_[a-z_]+)"', path.read_text(encoding="utf-8"))}


def base_name(series: str) -> str:
    return next((series.removesuffix(suffix) for suffix in SUFFIXES if series.endswith(suffix)), series)


@pytest.mark.parametrize("path", ["alerts/hpi.yaml", "dashboards/hpi.json"])
def test_alerts_and_dashboards_ask_for_series_that_are_counted(path: str) -> None:
    text = (ROOT / "configs" / path).read_text(encoding="utf-8")
    expressions = (
        [target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"]]
        if path.endswith(".json")
        else [rule["expr"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    )

    asked = {base_name(series) for one in expressions for series in re.findall(SERIES, one)}

    assert len(asked) >= 6
    assert asked <= known_series()


def test_every_alert_says_what_is_seen_and_what_to_do() -> None:
    groups = yaml.safe_load((ROOT / "configs" / "alerts" / "hpi.yaml").read_text(encoding="utf-8"))["groups"]

    for rule in (rule for group in groups for rule in group["rules"]):
        assert rule["alert"].startswith("HPI")
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_a_file_that_differs_is_named(tmp_path: Path) -> None:
    assert run("--output", str(tmp_path)).returncode == 0
    (tmp_path / "hpi" / "templates" / "rbac.yaml").write_text("", encoding="utf-8")

    checked = run("--output", str(tmp_path), "--check")

    assert (checked.returncode, checked.stdout) == (1, "charts/hpi/templates/rbac.yaml differs; run `make chart`\n")
