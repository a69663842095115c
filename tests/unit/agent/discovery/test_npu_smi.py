"""The tables of npu-smi in all layouts, the tool itself, and texts that are no table."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpi_agent.discovery.ascend_files import MAX_NPUS
from hpi_agent.discovery.host_files import HostFiles
from hpi_agent.discovery.lenient_files import LenientFiles
from hpi_agent.discovery.npu_smi import (
    MAX_MEBIBYTES,
    MAX_OUTPUT_BYTES,
    Chip,
    Recorded,
    Tool,
    find_npu_smi,
    last_words,
    parse_table,
    soc_version,
)
from support.host_trees import host_files, host_tree

BOARD_OF_A3 = "\tNPU ID          : 0\n\tNPU Name        : 9392\n\tChip ID         : 0\n\tChip Name       : Ascend910\n"
TABLE_OF_950 = """\
+--------+------------------+---------------+-----------------------------------------------------+
| NPU ID | Name             | Health        | Power(W)    Temp(C)           Hugepages-Usage(page) |
|        |                  | Bus-Id        | NPU Util(%) Memory-Usage(MB)  HBM-Usage(MB)         |
+========+==================+===============+=====================================================+
| 0      | Ascend950PR      | OK            | 195.6       56                0     / 0             |
|        |                  | 0000:61:00.0  | 0           0    / 0          5239  / 131072        |
+========+==================+===============+=====================================================+
| No running processes found in NPU 0                                                             |
"""
PROCESSES = """\
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 7       0                 | OK            | 91           0                 0    / 0            |
| 0       0                 | 0000:C1:00.0  | 0           0    / 0          3414 / 65536         |
"""


def table_of(host: str) -> str:
    return host_files(host)["/npu-smi.txt"]


def rows(name: str = "910B3", health: str = "OK", bus: str = "0000:C1:00.0", usage: str = "1 / 65536") -> str:
    head = "| Chip | Bus-Id | AICore(%) HBM-Usage(MB) |\n"
    return f"{head}| 3 {name} | {health} | 90.4 36 0 / 0 |\n| 0 | {bus} | 0 {usage} |\n"


# Layouts.


@pytest.mark.parametrize(
    ("host", "chips"),
    [
        pytest.param(
            "npu-310p",
            (
                Chip(0, 0, 0, "310P3", "OK", "0000:01:00.0", 21527, "DDR"),
                Chip(64, 0, 1, "310P3", "OK", "0000:06:00.0", 21527, "DDR"),
            ),
            id="310P: chip and device, one kind of memory",
        ),
        pytest.param(
            "npu-310b",
            (Chip(0, 0, 0, "310B4", "Alarm", None, 7545, "DDR"),),
            id="310B: no address, a health that is not OK, no prompt",
        ),
        pytest.param(
            "npu-a3",
            (
                Chip(0, 0, 0, "Ascend910", "OK", "0000:9d:00.0", 65536, "HBM"),
                Chip(0, 1, 1, "Ascend910", "OK", "0000:9f:00.0", 65536, "HBM"),
                Chip(1, 0, 2, "Ascend910", "OK", "0000:99:00.0", 65536, "HBM"),
                Chip(1, 1, 3, "Ascend910", "OK", "0000:9b:00.0", 65536, "HBM"),
            ),
            id="A3: two chips on each card",
        ),
        pytest.param(
            "npu-vnpu", (Chip(7, 0, 0, "310Pvir04", "OK", "0000:00:07.0", 11265, "DDR"),), id="vNPU in a container"
        ),
    ],
)
def test_a_table_is_read(host: str, chips: tuple[Chip, ...]) -> None:
    assert parse_table(table_of(host)).chips == chips


def test_eight_cards_with_one_chip_each_are_read() -> None:
    table = parse_table(table_of("npu-910b-eight"))

    assert table.driver_version == "24.1.rc3"
    assert table.chips[3] == Chip(3, 0, None, "910B3", "OK", "0000:82:00.0", 65536, "HBM")
    assert [chip.card for chip in table.chips] == list(range(8))


def test_the_newest_layout_with_a_column_for_names_is_read() -> None:
    assert parse_table(TABLE_OF_950).chips == (Chip(0, 0, None, "Ascend950PR", "OK", "0000:61:00.0", 131072, "HBM"),)


def test_chips_under_one_name_are_all_of_its_card() -> None:
    second = "| 1 3 | 0000:9F:00.0 | 0 1 / 65536 |\n"

    chips = parse_table(rows("Ascend910") + second).chips

    assert [(chip.card, chip.number_on_card, chip.device_number) for chip in chips] == [(3, 0, None), (3, 1, 3)]


def test_the_table_of_processes_names_no_chip() -> None:
    assert parse_table(rows() + PROCESSES).chips == parse_table(rows()).chips


@pytest.mark.parametrize(
    ("usage", "memory"),
    [
        ("0 / 0", None),
        ("0 / 1", 1),
        (f"0/{MAX_MEBIBYTES}", MAX_MEBIBYTES),
        (f"0/{MAX_MEBIBYTES + 1}", None),
        ("26838/ 32768", 32768),
        ("-", None),
        ("NA / NA", None),
    ],
)
def test_a_memory_is_believed_within_bounds(usage: str, memory: int | None) -> None:
    [chip] = parse_table(rows(usage=usage)).chips

    assert chip.memory_mebibytes == memory


def test_a_card_whose_high_bandwidth_memory_is_empty_has_the_other_one() -> None:
    head = "| Chip | Bus-Id | AICore(%) Memory-Usage(MB) HBM-Usage(MB) |\n"

    [chip] = parse_table(head + "| 0 310P3 | OK | 1 2 0 / 0 |\n| 0 0 | NA | 12 512 / 21527 0 / 0 |\n").chips

    assert (chip.memory_mebibytes, chip.memory_kind) == (21527, "DDR")


# Names.


@pytest.mark.parametrize(
    ("name", "chip", "template"),
    [
        ("310P3", "Ascend310P3", None),
        ("310", "Ascend310", None),
        ("310B4", "Ascend310B4", None),
        ("910B3", "Ascend910B3", None),
        ("910B2C", "Ascend910B2C", None),
        ("910B4-1", "Ascend910B4-1", None),
        ("910ProB", "Ascend910ProB", None),
        ("310Pvir04", "Ascend310P3", "vir04"),
        ("310Pvir04_3c", "Ascend310P3", "vir04_3c"),
        ("910B3vir05_1c_16g", "Ascend910B3", "vir05_1c_16g"),
    ],
)
def test_a_full_name_is_the_soc_version(name: str, chip: str, template: str | None) -> None:
    [got] = parse_table(rows(name)).chips

    assert (soc_version(got.name, None), got.template) == (chip, template)


@pytest.mark.parametrize(
    ("name", "board", "chip"),
    [
        ("Ascend910", BOARD_OF_A3, "Ascend910_9392"),
        ("Ascend950PR", "NPU Name : 9579\nChip Name : Ascend950PR\n", "Ascend950PR_9579"),
        ("Ascend910", None, None),
        ("Ascend910", "NPU Name : 9392\n", None),
        ("Ascend910", "Chip Name : Ascend910\n", None),
        ("Ascend910", "NPU Name : 9392\nChip Name : 910B4\n", None),
        ("Ascend910", "NPU Name : \x1b[31m\nChip Name : Ascend910\n", None),
    ],
)
def test_a_bare_name_is_completed_by_the_board_or_not_at_all(name: str, board: str | None, chip: str | None) -> None:
    assert soc_version(name, board) == chip


# Any text.


@example("| 0 310P3 | OK | 1 |\r\n| 0 0 | NA | 2 / 2 |\r\n")
@example("|" * 10_000)
@example("| 99999 910 | OK | |\n" * 50)
@given(
    st.lists(
        st.sampled_from(
            ["|", " 0 ", "310P3", " OK ", "NA", "0000:01:00.0", "1 / 2", "\n", "HBM-Usage", "vir", "\x1b", "\0"]
        )
        | st.text(max_size=6),
        max_size=60,
    ).map("".join)
)
def test_any_text_gives_a_bounded_table_of_harmless_words(text: str) -> None:
    table = parse_table(text)

    assert len(table.chips) <= MAX_NPUS
    assert str(table).isascii()
    assert str(table).isprintable()


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_name_and_board_give_a_harmless_soc_version_or_none(name: str, board: str) -> None:
    chip = soc_version(name, board)

    assert chip is None or (chip.isascii() and chip.isprintable() and chip.startswith("Ascend"))


@pytest.mark.parametrize(("count", "is_cut"), [(MAX_NPUS, False), (MAX_NPUS + 1, True)])
def test_the_number_of_chips_is_bounded(count: int, is_cut: bool) -> None:
    table = parse_table(rows() * count)

    assert (len(table.chips), table.is_cut) == (MAX_NPUS, is_cut)


# The tool, and its record.


def a_tool(directory: Path, program: str, timeout_seconds: float = 60.0) -> Tool:
    path = directory / "npu-smi"
    path.write_text(f"#!{sys.executable}\n{program}\n", encoding="utf-8")
    path.chmod(0o755)
    return Tool(str(path), "/usr/local/Ascend", timeout_seconds)


def test_the_tool_is_called_with_its_arguments_and_the_drivers_libraries(tmp_path: Path) -> None:
    tool = a_tool(tmp_path, "import os, sys; print(sys.argv[1:], os.environ['LD_LIBRARY_PATH'])")

    text = tool(("info", "-t", "board"))

    assert "['info', '-t', 'board']" in text
    assert "/usr/local/Ascend/driver/lib64:/usr/local/Ascend/driver/lib64/common" in text


@pytest.mark.parametrize(
    ("program", "timeout_seconds", "said"),
    [
        ("import time; time.sleep(600)", 0.5, "it gave no answer within 0.5 s"),
        (f"print('x' * {MAX_OUTPUT_BYTES + 1})", 60.0, f"it wrote more than {MAX_OUTPUT_BYTES} bytes"),
        ("import sys; print('no driver', file=sys.stderr); sys.exit(1)", 60.0, "no driver"),
    ],
)
def test_a_tool_that_gives_no_table_says_why(tmp_path: Path, program: str, timeout_seconds: float, said: str) -> None:
    text = a_tool(tmp_path, program, timeout_seconds)(("info",))

    assert said in last_words(text)
    assert parse_table(text).chips == ()


def test_a_tool_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    text = Tool(str(tmp_path / "absent"), "/usr/local/Ascend")(("info",))

    assert last_words(text) == "'No such file or directory'"


def test_a_record_answers_what_was_typed() -> None:
    record = Recorded(table_of("npu-a3"))

    assert soc_version("Ascend910", record(("info", "-t", "board", "-i", "0", "-c", "0"))) == "Ascend910_9392"
    assert len(parse_table(record(("info",))).chips) == 4


def test_a_record_does_not_answer_what_was_never_typed() -> None:
    assert Recorded("$ npu-smi info\n")(("info", "-l")) == "it was not asked when this tree was recorded"


@pytest.mark.parametrize("directory", ["/usr/local/sbin", "/usr/local/bin", "/usr/bin"])
def test_on_the_machine_itself_the_tool_is_run_from_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str
) -> None:
    files = LenientFiles(HostFiles(host_tree(tmp_path, "npu-310p", {f"{directory}/npu-smi": ""})))
    monkeypatch.setattr(HostFiles, "is_own_machine", True)

    ask = find_npu_smi(files, "/usr/local/Ascend")

    assert isinstance(ask, Tool)
    assert ask.program == f"{directory}/npu-smi"


def test_another_root_without_a_record_is_not_asked(tmp_path: Path) -> None:
    assert find_npu_smi(LenientFiles(HostFiles(tmp_path)), "/usr/local/Ascend") is None
