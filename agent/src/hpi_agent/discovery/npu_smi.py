"""What npu-smi says of a host's NPUs: asked in a child process on the machine itself, read from a record elsewhere.

The table of `npu-smi info`, two lines for each chip, in the layouts of its generations:

    | NPU     Name      | Health        | Power(W)     Temp(C)           Hugepages-Usage(page) |
    | Chip    Device    | Bus-Id        | AICore(%)    Memory-Usage(MB)                        |
    | 0       310P3     | OK            | 15.8         42                0    / 0              |
    | 0       0         | 0000:82:00.0  | 0            1074 / 21534                            |

with `Chip` alone and a last column `HBM-Usage(MB)` for 910B, `Chip Phy-ID` for the two chips of an A3 card (whose name
is the bare `Ascend910`), `NA` for the Bus-Id of a 310B, and a column of its own for the name of a 950. A vNPU is named
by its chip and template: `310Pvir04`, `910B3vir05_1c_16g`. The SoC version that ATC takes is `Ascend` and the name;
where the name is bare, `<Chip Name>_<NPU Name>` of `npu-smi info -t board -i <card> -c <chip>`.

Below any other root than `/`, the file `/npu-smi.txt` of that root is the tool's recorded answer: what was typed and
what it wrote, each command on a line of its own that begins with `$ npu-smi`. Without it npu-smi is not asked.

Source:
    Outputs in the issues of vllm-project/vllm-ascend and in the guides of Ascend/ModelZoo-PyTorch (310P) and of Orange
    Pi AIpro boards (310B4); ATC guide, `--soc_version`; Ascend/mind-cluster, FAQ, for what it writes when it fails.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from hpi_agent.discovery.ascend_files import MAX_NPUS
from hpi_agent.discovery.host_files import quoted
from hpi_agent.discovery.lenient_files import LenientFiles

RECORD_FILE: Final = "/npu-smi.txt"
PROGRAMS: Final = ("/usr/local/sbin/npu-smi", "/usr/local/bin/npu-smi", "/usr/bin/npu-smi", "/usr/sbin/npu-smi")
TIMEOUT_SECONDS: Final = 30.0
"""How long one call may take: 1 s as a rule, some more where eight NPUs wake up."""
MAX_OUTPUT_BYTES: Final = 262_144
"""Most that one call may write: the table of 256 NPUs with their processes fits."""
MAX_MEBIBYTES: Final = 2**24
"""Most memory of one NPU that is believed."""

INFO: Final = ("info",)

_PROMPT: Final = re.compile(r"^\$ npu-smi[ \t]+(.*)$", re.MULTILINE)
_TITLE: Final = re.compile(r"npu-smi\s+(\S{1,64})\s+Version:\s+([0-9][0-9A-Za-z.+_-]{0,63})")
_USAGE: Final = re.compile(r"(HBM|DDR|Memory)-Usage")
_CARD_AND_NAME: Final = re.compile(r"([0-9]{1,5})\s+((?:Ascend)?[0-9]{3}[0-9A-Za-z_-]{0,40})")
_NAME: Final = re.compile(r"(Ascend)?([0-9]{3}(?:(?!vir)[0-9A-Za-z-])*)(vir[0-9][0-9A-Za-z_]*)?")
_HEALTH: Final = re.compile(r"(?!NA$)[A-Za-z]{2,16}")
_BUS: Final = re.compile(r"([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])|NA")
_CHIP: Final = re.compile(r"([0-9]{1,5})(?:\s+([0-9]{1,5}))?")
_PAIR: Final = re.compile(r"([0-9]{1,8})\s*/\s*([0-9]{1,8})")
_BOARD_NAME: Final = re.compile(r"^[ \t]*(Chip|NPU) Name[ \t]*:[ \t]*([0-9A-Za-z]{1,32})[ \t]*$", re.MULTILINE)

Ask = Callable[[tuple[str, ...]], str]
"""Takes the arguments of one call and returns what npu-smi wrote, or what kept it from writing."""


@dataclass(frozen=True)
class Chip:
    """One chip in the table."""

    card: int
    number_on_card: int
    device_number: int | None
    """N of its device file; None in layouts that do not say it."""
    name: str
    health: str
    pci_bus_id: str | None
    memory_mebibytes: int | None
    memory_kind: Literal["HBM", "DDR"] | None

    @property
    def template(self) -> str | None:
        """The template of a vNPU, such as `vir04`; None for a whole chip."""
        match = _NAME.fullmatch(self.name)
        return None if match is None else match[3]


@dataclass(frozen=True)
class Table:
    """What `npu-smi info` says."""

    driver_version: str | None = None
    chips: tuple[Chip, ...] = ()
    is_cut: bool = False
    """Whether there are more than `MAX_NPUS` chips, of which the rest is left out."""


def parse_table(text: str) -> Table:
    """Return the table in any text; a text without one gives an empty table. At most `MAX_NPUS` chips are returned."""
    title = _TITLE.search(text)
    kinds: list[str] = []
    chips: list[Chip] = []
    named: tuple[int, str, str] | None = None
    for line in text.split("\n"):
        if "Process id" in line or "No running processes" in line or len(chips) > MAX_NPUS:
            break
        cells = _cells(line)
        kinds = _USAGE.findall(line) or kinds
        named = _named(cells) or named
        chip = None if named is None else _chip(named, cells, kinds)
        if chip is not None:
            chips.append(chip)
    return Table(None if title is None else title[2], tuple(chips[:MAX_NPUS]), len(chips) > MAX_NPUS)


def soc_version(name: str, board: str | None) -> str | None:
    """Return the SoC version of a chip as ATC takes it, or None when it cannot be told.

    Args:
        name: The chip's name in the table.
        board: What `npu-smi info -t board` wrote for it; None: it was not asked.

    Source:
        ATC guide, `--soc_version`. Of 310P, CANN knows virtual devices of Ascend310P3 alone (Ascend310P3Vir01 to
        Vir08), and npu-smi leaves the 3 out of their names.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    if not is_bare(name):
        return f"Ascend{match[2]}3" if match[3] and match[2] == "310P" else f"Ascend{match[2]}"
    told = dict(_BOARD_NAME.findall(board or ""))
    return f"{told['Chip']}_{told['NPU']}" if told.get("Chip") == name and "NPU" in told else None


def is_bare(name: str) -> bool:
    """Return whether a name says the generation alone, so that the board has to be asked."""
    return name.startswith("Ascend")


def find_npu_smi(files: LenientFiles, driver_directory: str) -> Ask | None:
    """Return what answers for npu-smi, or None where neither the tool nor a record of it is there.

    Args:
        files: The host.
        driver_directory: Where the driver's libraries lie, as a host path.
    """
    if not files.files.is_own_machine:
        record = files.text(RECORD_FILE)
        return None if record is None else Recorded(record)
    program = next((path for path in PROGRAMS if files.has(path)), None)
    return None if program is None else Tool(program, driver_directory)


class Recorded:
    """Answers with what was written when the tree was recorded."""

    def __init__(self, text: str) -> None:
        before, *parts = _PROMPT.split(text)
        self._answers: Mapping[tuple[str, ...], str] = {
            INFO: before,
            **{tuple(words.split()): answer for words, answer in zip(parts[::2], parts[1::2], strict=True)},
        }

    def __call__(self, arguments: tuple[str, ...]) -> str:
        """Return the recorded answer."""
        return self._answers.get(arguments, "it was not asked when this tree was recorded")


class Tool:
    """Runs npu-smi.

    Attributes:
        program: Its path.
    """

    def __init__(self, program: str, driver_directory: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.program = program
        self._directory = driver_directory
        self._timeout_seconds = timeout_seconds

    def __call__(self, arguments: tuple[str, ...]) -> str:
        """Return what it wrote on both streams, or why it wrote nothing."""
        from hpi_agent.processes.command import run_command

        places = [os.environ.get("LD_LIBRARY_PATH", "")]
        places += [f"{self._directory}/driver/lib64{below}" for below in ("", "/common", "/driver")]
        result = run_command(
            [self.program, *arguments],
            timeout_seconds=self._timeout_seconds,
            max_output_bytes=MAX_OUTPUT_BYTES,
            environment={"LD_LIBRARY_PATH": ":".join(filter(None, places)), "LC_ALL": "C"},
        )
        if result.ending == "hung":
            return f"it gave no answer within {self._timeout_seconds:g} s"
        if result.ending == "flooded":
            return f"it wrote more than {MAX_OUTPUT_BYTES} bytes"
        return f"{result.output}\n{result.errors}"


def last_words(text: str) -> str:
    """Return the last line of an answer that holds something, in quotes, for a note."""
    return quoted(next((line for line in reversed(text.split("\n")) if line.strip()), "nothing"))


def _cells(line: str) -> list[str]:
    stripped = line.strip()
    if len(stripped) < 2 or stripped[0] != "|" or stripped[-1] != "|":
        return []
    cells = [cell.strip() for cell in stripped[1:-1].split("|")]
    # The newest layout gives the name a cell of its own.
    return [f"{cells[0]} {cells[1]}".strip(), *cells[2:]] if len(cells) == 4 else cells


def _named(cells: list[str]) -> tuple[int, str, str] | None:
    """Return card, name and health of the first line of a chip."""
    match = _CARD_AND_NAME.fullmatch(cells[0]) if len(cells) == 3 else None
    if match is None or _NAME.fullmatch(match[2]) is None or _HEALTH.fullmatch(cells[1]) is None:
        return None
    return int(match[1]), match[2], cells[1]


def _chip(named: tuple[int, str, str], cells: list[str], kinds: list[str]) -> Chip | None:
    """Return the chip that the second line of it completes."""
    bus = _BUS.fullmatch(cells[1]) if len(cells) == 3 else None
    match = _CHIP.fullmatch(cells[0] or "0") if bus is not None else None
    if bus is None or match is None:
        return None
    card, name, health = named
    mebibytes, kind = _memory(_PAIR.findall(cells[2]), kinds)
    return Chip(
        card=card,
        number_on_card=int(match[1]),
        device_number=None if match[2] is None else int(match[2]),
        name=name,
        health=health,
        pci_bus_id=bus[1] and bus[1].lower(),
        memory_mebibytes=mebibytes,
        memory_kind=kind,
    )


def _memory(pairs: list[tuple[str, str]], kinds: list[str]) -> tuple[int | None, Literal["HBM", "DDR"] | None]:
    totals = {kind: int(total) for kind, (_, total) in zip(kinds, pairs, strict=False)}
    if 0 < totals.get("HBM", 0) <= MAX_MEBIBYTES:
        return totals["HBM"], "HBM"
    other = totals.get("Memory", 0) or totals.get("DDR", 0)
    return (other, "DDR") if 0 < other <= MAX_MEBIBYTES else (None, None)
