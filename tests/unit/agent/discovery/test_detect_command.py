"""`hpi-agent detect`: three outputs, one schema."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpi_agent.commands import detect
from hpi_core.errors import Refused
from support.host_trees import host_tree


def output_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    parser = argparse.ArgumentParser()
    detect.register(parser.add_subparsers())
    arguments = parser.parse_args(["detect", *words])

    assert arguments.run(arguments) == 0
    return capsys.readouterr().out


def test_json_has_the_documented_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = host_tree(tmp_path, "host-v2-nested-aarch64")

    answer: dict[str, Any] = json.loads(output_of(capsys, "--host-root", str(root), "-o", "json"))

    kind, digest = answer.pop("hardwareClass"), answer.pop("hardwareClassDigest")
    assert (kind["threads"], kind["numaNodes"], digest[:7]) == (3, 2, "sha256:")
    assert answer == {
        "formatVersion": 1,
        "hostRoot": str(root),
        "cpu": {
            "architecture": "aarch64",
            "vendor": "HiSilicon",
            "modelName": "Kunpeng 920",
            "isaLevel": "asimd",
            "isaFlags": ["asimd", "asimddp", "fp16"],
            "physicalCores": 8,
            "logicalCpus": 8,
            "possibleCpus": 8,
        },
        "allowance": {
            "wholeCores": 3,
            "boundBy": "quota v2",
            "quotaMillicores": 3000,
            "quotaMicroseconds": 300000,
            "quotaPeriodMicroseconds": 100000,
            "quotaFile": f"{root}/sys/fs/cgroup/system.slice/hpi.slice/cpu.max",
            "onlineCpus": "0-7",
            "cpusetCpus": "0-7",
            "affinityCpus": "0-7",
        },
        "numaNodes": [{"node": 0, "cpus": "0-3"}, {"node": 1, "cpus": "4-7"}],
        "memory": {
            "memoryTotalBytes": 67015503872,
            "memoryLimitBytes": 8589934592,
            "memoryLimitFile": f"{root}/sys/fs/cgroup/system.slice/hpi.slice/memory.max",
            "memoryAvailableBytes": 8589934592,
        },
        "notes": [],
    }


@pytest.mark.parametrize("host", ["hybrid-v1-unlimited", "container-v1-combined", "container-v2-aarch64"])
def test_yaml_says_the_same_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str) -> None:
    root = str(host_tree(tmp_path, host))

    as_json = output_of(capsys, "--host-root", root, "-o", "json")
    as_yaml = output_of(capsys, "--host-root", root, "-o", "yaml")

    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_a_piped_table_is_plain_ascii_one_line_per_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = host_tree(tmp_path, "container-v2-two-nodes", {"/sys/fs/cgroup/cpu.max": "50000 100000\n"})

    lines = output_of(capsys, "--host-root", str(root)).splitlines()

    assert len(lines) == 11
    assert all(line.isascii() and line.isprintable() and line == line.rstrip() for line in lines)
    assert lines[4] == "Whole cores left   1, bound by the CPU quota (cgroup v2)"
    assert lines[-1].startswith("note: the quota of 500m")
    assert lines[-1].endswith("raise the CPU limit to at least 1")


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_a_machine_of_which_little_is_known_is_still_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    online = tmp_path / "sys/devices/system/cpu/online"
    online.parent.mkdir(parents=True)
    online.write_text("0\n", encoding="utf-8")

    text = output_of(capsys, "--host-root", str(tmp_path), "-o", form)

    assert "architecture and processor model are not known" in " ".join(text.split())


def test_an_unusable_root_is_refused_with_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refused, match="absent is not a directory"):
        output_of(capsys, "--host-root", str(tmp_path / "absent"))
