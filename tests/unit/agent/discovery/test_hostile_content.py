"""Whatever a file of the host holds, the answer is a machine that can be printed or an error of ours."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpi_agent.commands.detect import document, print_table
from hpi_agent.discovery import Machine, detect
from hpi_agent.discovery.host_files import MAX_FILE_BYTES
from hpi_core.errors import HpiError
from support.host_trees import host_files, host_tree


def is_of_devices(path: str) -> bool:
    return path.startswith(("/proc/driver", "/sys/module", "/usr", "/etc", "/nvml", "/npu"))


HOSTS = ("hybrid-v1-quota-in-ancestor", "container-v1-combined", "host-v2-nested-aarch64")
DEVICES = ("gpu-mig", "gpu-lost", "gpu-version-mismatch", "npu-310p", "npu-a3", "npu-vnpu")
"""Hosts whose files on devices, which must never be an error, are spoilt; their other files are those of `HOSTS`."""

places = st.sampled_from([(host, path) for host in HOSTS for path in host_files(host)])
device_places = st.sampled_from(
    [(host, path) for host in DEVICES for path, text in host_files(host).items() if is_of_devices(path) and text]
)
pieces = st.sampled_from([b"\0", b"\n", b":", b" - cgroup2 c rw", b"/../", b"-1", b"max", b"0::/", b"9" * 30, b"\x1b["])
device_pieces = st.sampled_from(
    [b"|", b"=", b'"', b"{", b"[", b"null", b"GPU-", b"MIG ", b"0000:01:00.0", b"vir04", b"OK"]
)


V1_QUOTA = ("hybrid-v1-quota-in-ancestor", "/sys/fs/cgroup/cpu/batch/cpu.cfs_quota_us")


@example(V1_QUOTA, [b"\x1c"], 0)  # str.strip takes this separator away, int() does not.
@given(places, st.lists(pieces | st.binary(max_size=8), max_size=6), st.integers(0, 400))
@settings(max_examples=30, deadline=None)
def test_any_content_gives_a_printable_machine_or_a_printable_error_of_ours(
    place: tuple[str, str], garbage: list[bytes], position: int
) -> None:
    host, path = place
    with tempfile.TemporaryDirectory() as directory:
        file = host_tree(Path(directory), host) / path.lstrip("/")
        content = file.read_bytes()
        file.write_bytes(content[:position] + b"".join(garbage) + content[position:])

        printed = printed_machine_or_error(Path(directory) / "host")

    assert printed.isascii()
    assert printed.replace("\n", "").isprintable()


@example(("gpu-mig", "/nvml.json"), [b"9" * 5000], 40)
@example(("npu-310p", "/npu-smi.txt"), [b"|" * 9000], 0)
@given(device_places, st.lists(device_pieces | pieces | st.binary(max_size=8), max_size=6), st.integers(0, 2000))
@settings(max_examples=60, deadline=None)
def test_any_content_on_devices_gives_a_printable_machine_and_never_an_error(
    place: tuple[str, str], garbage: list[bytes], position: int
) -> None:
    host, path = place
    with tempfile.TemporaryDirectory() as directory:
        file = host_tree(Path(directory), host) / path.lstrip("/")
        content = file.read_bytes()
        file.write_bytes(content[:position] + b"".join(garbage) + content[position:])

        printed = printed_machine(detect(Path(directory) / "host"))

    assert printed.isascii()
    assert printed.replace("\n", "").isprintable()


@pytest.mark.parametrize("host", DEVICES)
@pytest.mark.parametrize("spoil", ["directory", "pipe", "loop", "away", "huge"])
def test_what_is_no_readable_file_is_a_note_for_devices(tmp_path: Path, host: str, spoil: str) -> None:
    root = host_tree(tmp_path, host)
    for path, text in host_files(host).items():
        if is_of_devices(path) and text and not text.startswith("-> "):
            ruin(root / path.lstrip("/"), spoil)

    machine = detect(root)

    assert machine.notes
    assert printed_machine(machine).replace("\n", "").isprintable()


def ruin(file: Path, spoil: str) -> None:
    if spoil == "huge":
        with file.open("wb") as sparse:
            sparse.truncate(MAX_FILE_BYTES + 1)
        return
    file.unlink()
    if spoil == "directory":
        file.mkdir()
    elif spoil == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to(file.name if spoil == "loop" else "/etc/hostname")


def printed_machine_or_error(root: Path) -> str:
    try:
        machine = detect(root)
    except HpiError as error:
        return str(error)
    return printed_machine(machine)


def printed_machine(machine: Machine) -> str:
    table = io.StringIO()
    print_table(machine, table)
    return table.getvalue() + json.dumps(document(machine))
