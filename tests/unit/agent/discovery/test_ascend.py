"""NPUs, their driver and CANN in whole trees: what is there, what is broken, and what the notes make of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hpi_agent.discovery import detect
from hpi_agent.discovery.ascend import read_ascend
from hpi_agent.discovery.ascend_files import MAX_NPUS, read_ascend_files
from hpi_agent.discovery.host_files import HostFiles
from hpi_agent.discovery.lenient_files import LenientFiles
from hpi_agent.profile import AscendDriver, AscendNpu, Machine, usable_npus
from support.host_trees import host_files, host_tree

INSTALL = "/etc/ascend_install.info"
ENVIRONMENT = "/proc/self/environ"
DRIVER = "/usr/local/Ascend/driver/version.info"
FIRMWARE = "/usr/local/Ascend/firmware/version.info"
TOOLKIT = "/usr/local/Ascend/ascend-toolkit/latest"
TOOLKIT_910B = f"{TOOLKIT}/aarch64-linux/ascend_toolkit_install.info"
BASE = "host-v2-nested-aarch64"


def detected(tmp_path: Path, name: str, changes: Mapping[str, str | None] | None = None) -> Machine:
    return detect(host_tree(tmp_path, name, changes))


def only_note(machine: Machine) -> str:
    [note] = machine.notes
    return note


# What is there.


def test_a_machine_without_devices_has_none_and_no_note(tmp_path: Path) -> None:
    machine = detected(tmp_path, BASE)

    assert (machine.ascend_driver, machine.cann, machine.npus, machine.notes) == (None, None, (), ())


def test_two_cards_of_310p_are_described_whole(tmp_path: Path) -> None:
    machine = detected(tmp_path, "npu-310p")

    assert machine.ascend_driver == AscendDriver("23.0.3", "7.1.0.5.220")
    assert machine.cann is not None
    assert (machine.cann.version, machine.cann.package) == ("8.0.RC3", "toolkit")
    assert machine.npus[1] == AscendNpu(
        index=1,
        chip="Ascend310P3",
        device_number=1,
        card=64,
        card_chip=0,
        pci_bus_id="0000:06:00.0",
        memory_bytes=21527 * 2**20,
        memory_kind="DDR",
        health="OK",
    )
    assert machine.notes == ()


@pytest.mark.parametrize(
    ("host", "chips", "device_numbers", "cann"),
    [
        ("npu-910b-eight", ["Ascend910B3"] * 8, list(range(8)), "8.0.0"),
        ("npu-a3", ["Ascend910_9392"] * 4, [0, 1, 2, 3], "8.5.0"),
        ("npu-310b", ["Ascend310B4"], [0], "7.0.0"),
        ("npu-vnpu", ["Ascend310P3"], [100], "8.0.RC3"),
    ],
)
def test_chips_are_named_as_atc_takes_them(
    tmp_path: Path, host: str, chips: list[str], device_numbers: list[int], cann: str
) -> None:
    machine = detected(tmp_path, host)

    assert [npu.chip for npu in machine.npus] == chips
    assert [npu.device_number for npu in machine.npus] == device_numbers
    assert machine.cann is not None
    assert machine.cann.version == cann


def test_a_vnpu_carries_its_template(tmp_path: Path) -> None:
    [npu] = detected(tmp_path, "npu-vnpu").npus

    assert (npu.template, npu.memory_bytes) == ("vir04", 11265 * 2**20)


def test_the_boards_of_one_name_are_asked_once(tmp_path: Path) -> None:
    root = host_tree(tmp_path, "npu-a3")

    machine = detect(root)

    assert host_files("npu-a3")["/npu-smi.txt"].count("$ npu-smi info -t board") == 1
    assert (len(machine.npus), machine.notes) == (4, ())


# What is broken.


def test_npus_without_npu_smi_are_there_and_their_chips_unknown(tmp_path: Path) -> None:
    machine = detected(tmp_path, "npu-without-tool")

    assert [(npu.index, npu.device_number, npu.chip, npu.fault) for npu in machine.npus] == [
        (0, 2, None, None),
        (1, 3, None, None),
    ]
    assert "npu-smi is not asked" in only_note(machine)


def test_on_the_machine_itself_a_missing_npu_smi_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = LenientFiles(HostFiles(host_tree(tmp_path, "npu-without-tool")))
    monkeypatch.setattr(HostFiles, "is_own_machine", True)

    _, _, npus = read_ascend(files, ["davinci2", "davinci_manager", "devmm_svm", "hisi_hdc"])

    assert [npu.chip for npu in npus] == [None]
    [note] = files.files.notes
    assert "there are NPUs, but no npu-smi" in note
    assert "ASCEND_VISIBLE_DEVICES" in note


def test_a_driver_that_does_not_answer_is_said_with_its_last_words(tmp_path: Path) -> None:
    machine = detected(tmp_path, "npu-driver-down")

    assert [npu.chip for npu in machine.npus] == [None]
    assert "(its last words: 'dcmi module initialize failed. ret is -8005')" in only_note(machine)


@pytest.mark.parametrize("text", ["", "\n\n", "Segmentation fault\n", "|" * 9999, "\x1b[2J\0\xff", "$ npu-smi info\n"])
def test_garbage_from_npu_smi_is_said_and_quoted_harmlessly(tmp_path: Path, text: str) -> None:
    machine = detected(tmp_path, "npu-310p", {"/npu-smi.txt": text})

    assert [npu.chip for npu in machine.npus] == [None, None]
    assert "npu-smi info names no NPU" in only_note(machine)
    assert only_note(machine).isprintable()


def test_npus_without_cann_are_said(tmp_path: Path) -> None:
    machine = detected(tmp_path, "npu-without-cann")

    assert (machine.cann, machine.npus[0].chip) == (None, "Ascend910B4")
    assert "there are NPUs, but no CANN" in only_note(machine)


def test_a_board_that_names_nothing_leaves_the_chips_unknown_and_says_so(tmp_path: Path) -> None:
    table, _, _ = host_files("npu-a3")["/npu-smi.txt"].partition("$ npu-smi info -t board")

    machine = detected(tmp_path, "npu-a3", {"/npu-smi.txt": table})

    assert {npu.chip for npu in machine.npus} == {None}
    assert "npu-smi names the chips Ascend910 alone" in only_note(machine)


def test_a_health_that_is_not_ok_is_said(tmp_path: Path) -> None:
    machine = detected(tmp_path, "npu-310b")

    assert machine.npus[0].fault is None
    assert "NPU 0 (Ascend310B4, " in only_note(machine)
    assert "reports the health Alarm" in only_note(machine)
    assert "npu-smi info -t health -i 0 -c 0" in only_note(machine)


def test_an_npu_without_its_device_file_cannot_compute(tmp_path: Path) -> None:
    machine = detected(tmp_path, "npu-910b-eight", {"/dev/davinci3": None})

    assert [npu.device_number for npu in usable_npus(machine.npus)] == [0, 1, 2, 4, 5, 6, 7]
    assert "davinci3) cannot be used: its device file is not there" in only_note(machine)


def test_an_npu_that_npu_smi_does_not_list_cannot_compute(tmp_path: Path) -> None:
    machine = detected(tmp_path, "npu-310p", {"/dev/davinci2": ""})

    assert [(npu.device_number, npu.fault is None) for npu in machine.npus] == [(0, True), (1, True), (2, False)]
    assert "npu-smi does not list it" in only_note(machine)


@pytest.mark.parametrize("name", ["davinci_manager", "devmm_svm", "hisi_hdc"])
def test_a_missing_companion_is_said_by_name(tmp_path: Path, name: str) -> None:
    machine = detected(tmp_path, "npu-310p", {f"/dev/{name}": None})

    assert f"there are NPUs, but no /dev/{name}: none can be opened" in only_note(machine)


@pytest.mark.parametrize(
    ("firmware", "fits"),
    [("7.0.0", True), ("7.1.99", True), ("6.9.99", False), ("7.2.0.1.231", False), ("7.1.0.5.220", True)],
)
def test_a_firmware_outside_the_range_of_the_driver_is_said(tmp_path: Path, firmware: str, fits: bool) -> None:
    machine = detected(tmp_path, "npu-310p", {FIRMWARE: f"Version={firmware}\n"})

    assert (machine.notes == ()) is fits
    assert fits or "which allows 7.0.0 to 7.1.99" in only_note(machine)


def test_one_of_several_ranges_is_enough(tmp_path: Path) -> None:
    driver = "Version=25.3.rc1\ncompatible_version_fw=[6.4.0,6.4.99],[7.0.0,8.9.9]\n"

    machine = detected(tmp_path, "npu-310p", {DRIVER: driver, FIRMWARE: "Version=6.4.5\n"})

    assert machine.notes == ()


def test_a_driver_file_with_garbage_leaves_the_version_that_npu_smi_says(tmp_path: Path) -> None:
    machine = detected(tmp_path, "npu-310p", {DRIVER: "Version=\x1b[31m\n"})

    assert machine.ascend_driver == AscendDriver("23.0.3", "7.1.0.5.220")
    assert r"says '\x1b[31m', which is no version" in only_note(machine)


# What was given to this process.


@pytest.mark.parametrize(
    ("path", "what"),
    [("/dev/davinci_manager", "the Ascend driver is there"), (TOOLKIT_910B, "CANN is installed")],
    ids=["driver", "CANN"],
)
def test_a_process_without_an_npu_is_told_so(tmp_path: Path, path: str, what: str) -> None:
    machine = detected(tmp_path, BASE, {path: "version=8.0.0\n"})

    assert machine.npus == ()
    assert only_note(machine).startswith(f"{what}, but this process was given no NPU: there is no ")


def test_an_empty_ascend_folder_is_no_sign(tmp_path: Path) -> None:
    machine = detected(tmp_path, BASE, {"/usr/local/Ascend/README": "", INSTALL: "UserName=HwHiAiUser\n"})

    assert (machine.ascend_driver, machine.cann, machine.notes) == (None, None, ())


# CANN.


@pytest.mark.parametrize(
    ("path", "content", "version", "package"),
    [
        (f"{TOOLKIT}/x86_64-linux/ascend_toolkit_install.info", "version=8.0.RC3\n", "8.0.RC3", "toolkit"),
        (f"{TOOLKIT}/version.cfg", "toolkit_running_version=[7.6.0.1.220:8.0.0]\n", "8.0.0", "toolkit"),
        ("/usr/local/Ascend/cann/aarch64-linux/ascend_toolkit_install.info", "version=8.5.0\n", "8.5.0", "toolkit"),
        ("/usr/local/Ascend/nnrt/latest/arm64-linux/ascend_nnrt_install.info", "version=6.0.1\n", "6.0.1", "nnrt"),
        ("/usr/local/Ascend/nnae/latest/ascend_nnae_install.info", "version=8.0.0\n", "8.0.0", "nnae"),
        ("/usr/local/Ascend/nnrt/latest/version.cfg", "runtime_running_version=[1.84:6.0.1]\n", "6.0.1", "nnrt"),
    ],
)
def test_cann_is_found_in_every_layout(tmp_path: Path, path: str, content: str, version: str, package: str) -> None:
    cann = detected(tmp_path, "npu-without-cann", {path: content}).cann

    assert cann is not None
    assert (cann.version, cann.package) == (version, package)


def test_a_toolkit_comes_before_what_can_only_run(tmp_path: Path) -> None:
    nnrt = {"/usr/local/Ascend/nnrt/latest/aarch64-linux/ascend_nnrt_install.info": "version=7.0.0\n"}

    cann = detected(tmp_path, "npu-910b-eight", nnrt).cann

    assert cann is not None
    assert (cann.version, cann.package) == ("8.0.0", "toolkit")


def test_the_installation_in_use_comes_first(tmp_path: Path) -> None:
    changes: dict[str, str | None] = {
        "/opt/cann/aarch64-linux/ascend_toolkit_install.info": "version=8.1.RC1\n",
        ENVIRONMENT: "PATH=/bin\nASCEND_TOOLKIT_HOME=/opt/cann\n",
    }

    machine = detected(tmp_path, "npu-910b-eight", changes)

    assert machine.cann is not None
    assert machine.cann.version == "8.1.RC1"
    assert machine.cann.directory.endswith("/opt/cann")


def test_an_installation_in_use_that_is_not_there_is_said(tmp_path: Path) -> None:
    machine = detected(tmp_path, "npu-910b-eight", {ENVIRONMENT: "ASCEND_TOOLKIT_HOME=/opt/gone\n"})

    assert machine.cann is not None
    assert machine.cann.version == "8.0.0"
    assert "ASCEND_TOOLKIT_HOME names /opt/gone, which is not there" in only_note(machine)


@pytest.mark.parametrize("home", ["../../etc", "/usr/local/../../..", ""])
def test_an_installation_in_use_outside_the_root_is_not_looked_up(tmp_path: Path, home: str) -> None:
    machine = detected(tmp_path, "npu-910b-eight", {ENVIRONMENT: f"ASCEND_TOOLKIT_HOME={home}\n"})

    assert machine.cann is not None
    assert (machine.cann.version, machine.notes) == ("8.0.0", ())


def test_a_cann_that_states_no_version_is_said(tmp_path: Path) -> None:
    machine = detected(tmp_path, "npu-without-cann", {f"{TOOLKIT}/set_env.sh": ""})

    assert machine.cann is not None
    assert machine.cann.version is None
    assert "says no version of CANN" in only_note(machine)


def test_another_install_directory_is_followed(tmp_path: Path) -> None:
    changes: dict[str, str | None] = {
        INSTALL: "Driver_Install_Path_Param=/data/Ascend\nFirmware_Install_Path_Param=/data/Ascend\n",
        "/data/Ascend/driver/version.info": "Version=25.0.rc1\n",
        "/data/Ascend/firmware/version.info": "Version=7.7.0\n",
    }

    assert detected(tmp_path, "npu-310p", changes).ascend_driver == AscendDriver("25.0.rc1", "7.7.0")


# Bounds.


@pytest.mark.parametrize(("count", "notes"), [(MAX_NPUS, 0), (MAX_NPUS + 1, 1)])
def test_the_number_of_device_files_is_bounded(tmp_path: Path, count: int, notes: int) -> None:
    files = LenientFiles(HostFiles(tmp_path))

    seen = read_ascend_files(files, [f"davinci{number}" for number in range(count)])

    assert seen is not None
    assert (len(seen.device_numbers), len(files.files.notes)) == (MAX_NPUS, notes)
