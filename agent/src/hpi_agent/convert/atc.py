"""An ONNX file → an offline model for one kind of Ascend chip, by ATC, the compiler of CANN.

ATC is a program of its own, and needs no NPU. It is started with a list of arguments, in a folder of its own (it leaves
`kernel_meta` and `fusion_result.json` where it runs), with a deadline; what it made is checked and renamed into place.

Source:
    CANN, ATC user guide: `--model`, `--framework`, `--output`, `--soc_version`, `--input_shape`, `--precision_mode_v2`,
    `--log`.
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from hpi_agent.engines.om import SUFFIX, check_file
from hpi_agent.processes.command import CommandResult, run_command
from hpi_core.errors import EngineFailed, Refused

ONNX: Final = "5"
"""What ATC calls ONNX (`--framework`)."""
NAME: Final = "model"
MAX_OUTPUT_BYTES: Final = 16 * 2**20
TAIL_LINES: Final = 12
MAX_TAIL_CHARACTERS: Final = 2_000

Kept = Literal["float16", "float32"]
PRECISION_MODES: Final[dict[Kept, str]] = {"float16": "fp16", "float32": "origin"}
"""`origin` keeps what the model says. Without the option ATC makes float16 of every float32."""

_CHIP: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SEPARATORS: Final = frozenset(":;,")


def compile_with_atc(
    onnx: Path,
    output: Path,
    *,
    chip: str,
    shapes: Mapping[str, tuple[int, ...]],
    precision: Kept,
    timeout_seconds: float,
    atc: str = "atc",
) -> None:
    """Make an offline model; a file that is there is replaced.

    Args:
        onnx: The model, in one file.
        output: Where the offline model goes; its name ends in `.om`.
        chip: The SoC that it is for, such as `Ascend310P3`.
        shapes: The one shape of each input, by name; dimensions at least 1.
        precision: `float32` keeps the types of the model; `float16` makes all of it float16.
        timeout_seconds: When ATC is killed.
        atc: The program; its folder has to be on the path, as CANN's `set_env.sh` puts it.

    Raises:
        Refused: An argument cannot be said to ATC.
        EngineFailed: ATC cannot be started, failed, hung, or made nothing; the text has its last lines.
    """
    if output.suffix != SUFFIX:
        raise Refused(f"an offline model has a name that ends in {SUFFIX}, got {output}")
    if not _CHIP.fullmatch(chip):
        raise Refused(f"a chip is named as ATC takes it, such as Ascend310P3, got {chip!r}")
    with tempfile.TemporaryDirectory(prefix=".atc-", dir=output.parent) as folder:
        scratch = Path(folder)
        command = [
            atc,
            f"--model={onnx.absolute()}",
            f"--framework={ONNX}",
            f"--output={scratch / NAME}",
            f"--soc_version={chip}",
            f"--input_shape={written_shapes(shapes)}",
            f"--precision_mode_v2={PRECISION_MODES[precision]}",
            "--log=error",
        ]
        result = run_command(
            command,
            timeout_seconds=timeout_seconds,
            max_output_bytes=MAX_OUTPUT_BYTES,
            environment={"ASCEND_PROCESS_LOG_PATH": str(scratch), "ASCEND_SLOG_PRINT_TO_STDOUT": "1"},
            directory=scratch,
        )
        if result.ending != "ended" or result.exit_code != 0:
            raise EngineFailed(_why(onnx, atc, result, timeout_seconds))
        made = _made(scratch)
        if made is None:
            raise EngineFailed(f"{atc} ended well and made no offline model of {onnx}; it said:\n{_tail(result)}")
        check_file(made)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(output)


def written_shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return shapes as ATC takes them: `x:1,3,48,320;scale:1,2`; a scalar has none.

    Raises:
        Refused: A name holds what separates them, or a dimension is not fixed.
    """
    for name, shape in shapes.items():
        if not name or _SEPARATORS.intersection(name):
            raise Refused(f"ATC cannot be told of an input {name!r}: its name must have no ':', ';' and ','; rename it")
        if any(size < 1 for size in shape):
            raise Refused(f"an offline model has fixed shapes, every dimension at least 1; got {shape} for {name!r}")
    return ";".join(f"{name}:{','.join(map(str, shape))}" for name, shape in shapes.items())


def _made(scratch: Path) -> Path | None:
    # With the system and the architecture in its name where the model runs on them alone.
    names = (f"{NAME}{SUFFIX}", f"{NAME}_linux_{platform.machine()}{SUFFIX}")
    return next((scratch / name for name in names if (scratch / name).is_file()), None)


def _why(onnx: Path, atc: str, result: CommandResult, timeout_seconds: float) -> str:
    if result.ending == "not started":
        return (
            f"{atc} cannot be started: {result.errors}; install CANN's toolkit and source its set_env.sh, or name the "
            "program"
        )
    said = {
        "hung": f"did not end within {timeout_seconds:g} s and was killed",
        "flooded": f"wrote more than {MAX_OUTPUT_BYTES} bytes and was killed",
    }.get(result.ending, f"ended with exit code {result.exit_code}")
    return f"{atc} {said} while it compiled {onnx}; it said:\n{_tail(result)}"


def _tail(result: CommandResult) -> str:
    lines = [line.rstrip() for line in f"{result.output}\n{result.errors}".splitlines() if line.strip()]
    text = "\n".join(f"  {line}" for line in lines[-TAIL_LINES:]) or "  nothing"
    return text[-MAX_TAIL_CHARACTERS:]
