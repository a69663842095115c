"""`hpi-agent detect`: three outputs, one schema."""

from __future__ import annotations

import argparse
import json
import re
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
        "nvidiaDriver": None,
        "gpus": [],
        "ascendDriver": None,
        "cann": None,
        "npus": [],
        "devices": [],
        "notes": [],
    }


def test_json_has_the_documented_schema_for_gpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = host_tree(tmp_path, "gpu-mig")

    answer: dict[str, Any] = json.loads(output_of(capsys, "--host-root", str(root), "-o", "json"))

    assert answer["nvidiaDriver"] == {"version": "550.54.15", "libraryVersion": "550.54.15", "cudaVersion": "12.4"}
    assert answer["gpus"][0] == {
        "index": 0,
        "product": "NVIDIA A100 80GB PCIe",
        "uuid": "GPU-00000200-1c2d-4e3f-8a9b-0123456789ab",
        "pciBusId": "0000:17:00.0",
        "computeCapability": "8.0",
        "memoryBytes": 85899345920,
        "migEnabled": True,
        "migSlices": [
            {
                "index": 0,
                "profile": "3g.40gb",
                "uuid": "MIG-3f1c2d4e-5a6b-5c7d-8e9f-000000000001",
                "memoryBytes": 42144366592,
            },
            {
                "index": 1,
                "profile": "1g.10gb",
                "uuid": "MIG-3f1c2d4e-5a6b-5c7d-8e9f-000000000002",
                "memoryBytes": 10200547328,
            },
        ],
        "fault": None,
    }
    device = answer["devices"][1]
    assert (device["device"], device["uuid"]) == ("gpu:1", "MIG-3f1c2d4e-5a6b-5c7d-8e9f-000000000002")
    assert (device["hardwareClass"]["device"], device["hardwareClass"]["accelerator"]["slice"]) == ("gpu", "1g.10gb")
    assert (device["hardwareClassDigest"][:7], device["unclassed"]) == ("sha256:", None)


def test_json_has_the_documented_schema_for_npus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = host_tree(tmp_path, "npu-310p")

    answer: dict[str, Any] = json.loads(output_of(capsys, "--host-root", str(root), "-o", "json"))

    assert answer["ascendDriver"] == {"version": "23.0.3", "firmwareVersion": "7.1.0.5.220"}
    assert answer["cann"] == {
        "version": "8.0.RC3",
        "package": "toolkit",
        "directory": f"{root}/usr/local/Ascend/ascend-toolkit/latest",
    }
    assert answer["npus"][1] == {
        "index": 1,
        "chip": "Ascend310P3",
        "deviceNumber": 1,
        "card": 64,
        "cardChip": 0,
        "pciBusId": "0000:06:00.0",
        "memoryBytes": 22572695552,
        "memoryKind": "DDR",
        "health": "OK",
        "template": None,
        "fault": None,
    }
    assert [device["device"] for device in answer["devices"]] == ["npu:0", "npu:1"]
    assert answer["devices"][0]["hardwareClass"]["accelerator"]["chip"] == "Ascend310P3"


def test_a_device_that_cannot_be_classed_says_why_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = host_tree(tmp_path, "npu-without-tool")

    answer: dict[str, Any] = json.loads(output_of(capsys, "--host-root", str(root), "-o", "json"))

    [device, _] = answer["devices"]
    assert (device["hardwareClass"], device["hardwareClassDigest"]) == (None, None)
    assert device["unclassed"].startswith("npu:0 cannot be classed: its chip is not known")


@pytest.mark.parametrize(
    ("host", "rows"),
    [
        pytest.param(
            "gpu-mig",
            [
                "NVIDIA driver | 550.54.15 (library 550.54.15), serves CUDA 12.4",
                "gpu:0 | NVIDIA A100 80GB PCIe MIG 3g.40gb, 39.25 GiB, compute capability 8.0, at 0000:17:00.0",
                "gpu:1 | NVIDIA A100 80GB PCIe MIG 1g.10gb, 9.50 GiB, compute capability 8.0, at 0000:17:00.0",
                "gpu:2 | NVIDIA A100 80GB PCIe, 80.00 GiB, compute capability 8.0, at 0000:65:00.0",
            ],
            id="slices count as devices",
        ),
        pytest.param(
            "npu-310p",
            [
                "Ascend driver | 23.0.3, firmware 7.1.0.5.220",
                "npu:1 | Ascend310P3, 21.02 GiB of DDR, health OK, card 64 chip 0, at 0000:06:00.0, /dev/davinci1",
            ],
            id="an NPU is told by card and chip",
        ),
        pytest.param(
            "npu-vnpu",
            [
                "npu:0 | Ascend310P3 vNPU vir04, 11.00 GiB of DDR, health OK, card 7 chip 0, at 0000:00:07.0, "
                "/dev/davinci100"
            ],
            id="a vNPU by its template",
        ),
        pytest.param(
            "gpu-lost",
            ["GPU out of use | NVIDIA H100 80GB HBM3, at 0000:3b:00.0: NVML_ERROR_GPU_IS_LOST: GPU is lost"],
            id="a lost GPU is out of use",
        ),
        pytest.param(
            "gpu-none-given",
            ["NVIDIA driver | 550.54.15 (library missing)", "Accelerators | none"],
            id="a driver and no device",
        ),
        pytest.param("container-v2-two-nodes", ["Accelerators | none"], id="no sign of either"),
        pytest.param(
            "npu-without-tool",
            ["npu:0 | unknown chip, /dev/davinci2", "Class of npu:0-1 | not known, see the notes"],
            id="unknown chips",
        ),
    ],
)
def test_the_table_tells_each_device_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str, rows: list[str]
) -> None:
    lines = output_of(capsys, "--host-root", str(host_tree(tmp_path, host))).splitlines()

    told = [re.sub(" {2,}", " | ", line) for line in lines]
    assert [line for line in told if line in rows] == rows


def test_devices_of_one_class_share_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of(capsys, "--host-root", str(host_tree(tmp_path, "gpu-eight-mixed"))).splitlines()

    classes = [line.split() for line in lines if line.startswith("Class of ")]
    assert [words[2] for words in classes] == ["gpu:0-3", "gpu:4-7"]
    assert len({words[3] for words in classes}) == 2


@pytest.mark.parametrize(
    "host", ["hybrid-v1-unlimited", "container-v1-combined", "container-v2-aarch64", "gpu-lost", "npu-a3"]
)
def test_yaml_says_the_same_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str) -> None:
    root = str(host_tree(tmp_path, host))

    as_json = output_of(capsys, "--host-root", root, "-o", "json")
    as_yaml = output_of(capsys, "--host-root", root, "-o", "yaml")

    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_a_piped_table_is_plain_ascii_one_line_per_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = host_tree(tmp_path, "container-v2-two-nodes", {"/sys/fs/cgroup/cpu.max": "50000 100000\n"})

    lines = output_of(capsys, "--host-root", str(root)).splitlines()

    assert len(lines) == 12
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
