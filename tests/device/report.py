"""`make gpu`: what the engines do on the devices of this machine, within ten minutes and without a network.

    PYTHONPATH=agent/src:crds/src:tests python -m device.report

Needs the checkout and a Python with numpy, pydantic and PyYAML; every runtime that is there is used, none is fetched.
Writes `build/gpu/report.txt` and `report.json`. Exit status: 0 when at least one way ran and all that ran kept every
promise, 1 when one did not, 3 when nothing ran: no device, or no package for it.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from device import here, paddle_claims
from support.engines import ON_DEVICES
from support.ways import SWITCH

OUTPUT: Final = here.ROOT / "build" / "gpu"
DEADLINE_SECONDS: Final = 570.0
WAY_SECONDS: Final = 150.0
SUITE_SECONDS: Final = 240.0
NOTHING_RAN: Final = 3
SUITE: Final = ("tests/engines/test_conformance.py", "tests/engines/test_conformance_in_shared_use.py")

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    **{way.name: (way.backend,) for way in ON_DEVICES if way.backend not in ("om", "tensorrt")},
    "onnxruntime-tensorrt": ("onnxruntime", "nvinfer"),
    "tensorrt": ("tensorrt", "cuda"),
    "om": ("acl",),
    **{way.name: ("paddle",) for way in paddle_claims.ON_DEVICES},
}
"""What each way imports or loads; the backend's own package comes first."""
DEVICE_OF: Final[dict[str, str]] = {
    **{way.name: way.device.kind for way in ON_DEVICES},
    **{way.name: way.device.kind for way in paddle_claims.ON_DEVICES},
}
WORD_OF_BUILD: Final[dict[str, str]] = {
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
    "paddle-gpu": " True ",
    "paddle-gpu-float16": " True ",
    "paddle-gpu-tensorrt": " True ",
    "paddle-npu": "npu",
}
"""What a package says of itself where its build has the device."""


def main() -> int:
    """Write the report and return the exit status."""
    started = time.monotonic()
    found: dict[str, Any] = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "gpus": here.gpus(),
        "npus": here.npus(),
        "packages": here.packages(),
        "detect": here.detected(),
        "ways": {},
    }
    for name in DEVICE_OF:
        reason = why_not(name, found)
        found["ways"][name] = {"notRun": reason} if reason else run_way(name, remaining(started, WAY_SECONDS))
    ran = [name for name, way in found["ways"].items() if "notRun" not in way]
    found["suite"] = run_suite([name for name in ran if name in {way.name for way in ON_DEVICES}], found, started)
    status = status_of(found)
    text = table(found, status)
    write(found, text)
    print(text)
    return status


def remaining(started: float, wanted: float) -> float:
    """Return how many seconds a step may take, at least one."""
    return max(1.0, min(wanted, DEADLINE_SECONDS - (time.monotonic() - started)))


def why_not(name: str, found: dict[str, Any]) -> str | None:
    """Return why a way cannot run here, or None."""
    kind = DEVICE_OF[name]
    if kind == "gpu" and isinstance(found["gpus"], str):
        return "no GPU"
    if kind == "npu" and not found["npus"]:
        return "no NPU"
    for package in NEEDS[name]:
        said = found["packages"][package]
        if said is None:
            return f"the package {package} is not installed"
        if said.startswith(("cannot be imported", "does not import")):
            return f"the package {package} {said}"
        if package == NEEDS[name][0] and WORD_OF_BUILD.get(name, "") not in f"{said} ":
            return f"this build of {package} has no such device: {said}"
    return None


def run_way(name: str, seconds: float) -> dict[str, Any]:
    """Return what `device.one_way` says of a way, or how its process ended."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "device.one_way", name],
            env=here.environment(**{SWITCH: name}),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return {"ended": f"gave no answer within {seconds:.0f} s"}
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = " | ".join(done.stderr.strip().splitlines()[-5:])
        return {"ended": f"exit code {done.returncode}: {last}"}
    return answer


def run_suite(names: list[str], found: dict[str, Any], started: float) -> dict[str, Any]:
    """Return what pytest says of the whole conformance suite on the devices, where pytest and onnx are here."""
    missing = [package for package in here.OF_THE_SUITE if found["packages"][package] is None]
    if not names or missing:
        return {"notRun": f"not installed: {', '.join(missing)}" if missing else "no way ran"}
    chosen = " or ".join(names)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *SUITE]
    seconds = remaining(started, SUITE_SECONDS)
    try:
        done = subprocess.run(
            command,
            cwd=here.ROOT,
            env=here.environment(**{SWITCH: ",".join(names)}),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return {"ended": f"not done within {seconds:.0f} s"}
    lines = done.stdout.strip().splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"exitCode": done.returncode, "summary": lines[-1] if lines else done.stderr[-300:], "failed": failed}


def status_of(found: dict[str, Any]) -> int:
    """Return the exit status of a report."""
    ran = [way for way in found["ways"].values() if "notRun" not in way]
    if not ran:
        return NOTHING_RAN
    broken = any("ended" in way or set(way["claims"].values()) != {"kept"} for way in ran)
    suite = found["suite"]
    return int(broken or suite.get("exitCode", 0) != 0)


def table(found: dict[str, Any], status: int) -> str:
    """Return the report for people."""
    lines = [f"{found['date']}, Python {found['python']}"]
    lines += [
        f"GPU    {found['gpus']}" if isinstance(found["gpus"], str) else f"GPU    {gpu}" for gpu in _each(found["gpus"])
    ]
    lines += [f"NPU    {found['npus'] or 'none: there is no /dev/davinci*'}"]
    lines += [f"{name:12} {said or 'not installed'}" for name, said in found["packages"].items()]
    detect = found["detect"]
    devices = [one["device"] for one in detect.get("devices", [])] if isinstance(detect, dict) else None
    lines += [f"hpi-agent detect: {detect if devices is None else devices or 'no device'}", ""]
    for name, way in found["ways"].items():
        lines += _lines_of(name, way)
    lines += ["", f"conformance suite: {found['suite']}", "", SENTENCES[status]]
    return "\n".join(lines)


SENTENCES: Final = {
    0: "Every way that ran kept its promises.",
    1: "A promise was broken: see above.",
    NOTHING_RAN: "Nothing ran: this machine has no device that a package here computes on. Nothing was proved.",
}


def _each(gpus: Any) -> list[Any]:
    return [gpus] if isinstance(gpus, str) else gpus


def _lines_of(name: str, way: dict[str, Any]) -> list[str]:
    if "notRun" in way:
        return [f"{name:24} not run: {way['notRun']}"]
    if "ended" in way:
        return [f"{name:24} BROKEN: {way['ended']}"]
    kept = sum(outcome == "kept" for outcome in way["claims"].values())
    times = (
        f"; {way['device']}, {way['precision']}; load {way['loadMilliseconds']} ms, "
        f"inference {way['medianMilliseconds']} ms (slowest {way['slowestMilliseconds']} ms)"
        if "medianMilliseconds" in way
        else f"; {way.get('timing', '')}"
    )
    lines = [f"{name:24} {kept} of {len(way['claims'])} promises kept{times}"]
    return lines + [f"    BROKEN {claim}: {outcome}" for claim, outcome in way["claims"].items() if outcome != "kept"]


def write(found: dict[str, Any], text: str) -> None:
    """Write both forms of the report, each whole or not at all."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name, content in (("report.json", json.dumps(found, indent=1)), ("report.txt", text)):
        fresh: Path = OUTPUT / f".{name}"
        fresh.write_text(content + "\n")
        fresh.replace(OUTPUT / name)


if __name__ == "__main__":
    sys.exit(main())
