#!/usr/bin/env python3
"""Write the lists of this folder from pyproject.toml: one per purpose and Python version, with hashes.

Run as `make lock`. Packages that are in a list keep their versions as long as everything can be resolved with them, so
that a new package changes nothing else; packages published after `NEWEST` do not exist for the resolver. To take newer
versions, move `NEWEST` and run `lock.py --upgrade`.

An index that mirrors another shows packages hours or weeks after their upload time: without the first rule, the same
`NEWEST` gave other versions on other days.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import tomllib  # type: ignore[import-not-found]  # From Python 3.11 on; only `make lock` runs this file.

NEWEST: Final = "2026-11-21T00:00:00Z"
"""Packages published later are left out."""

PYTHONS: Final = ("3.11", "3.12", "3.13")

PLATFORMS: Final = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_35")
"""The oldest C library of each machine that every package has a wheel for; OpenVINO asks for 2.35 on aarch64."""

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]


@dataclass(frozen=True)
class Purpose:
    """One list: what it holds, and which lists are installed below it and therefore left out of it."""

    name: str
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    upon: tuple[str, ...] = ()
    """Purposes whose packages are installed already."""
    agreeing: tuple[str, ...] = ()
    """Purposes whose versions this list keeps to, beside those it stands upon."""
    pythons: tuple[str, ...] = PYTHONS
    without: tuple[str, ...] = ()
    """Packages that others ask for and that this list does without."""
    own: tuple[str, ...] = ()
    """Packages whose version agrees with no other list."""


AGENT: Final = Purpose(
    "agent-cpu",
    extras=("agent", "cpu", "pipelines", "s3"),
    groups=("opencv",),
    agreeing=("tools",),
    # An agent beside the Ascend plugin has no other Python than 3.10.
    pythons=("3.10", *PYTHONS),
)
DEMO: Final = Purpose(
    "demo", extras=(*AGENT.extras, "demo"), groups=AGENT.groups, upon=("agent-cpu",), agreeing=("tools",)
)
OPERATOR: Final = Purpose("operator", extras=("operator",), agreeing=("tools", "agent-cpu"))
TEST: Final = Purpose(
    "test",
    extras=(*DEMO.extras, "operator"),
    groups=(*DEMO.groups, "test"),
    upon=("agent-cpu", "demo", "operator"),
    agreeing=("tools",),
)
PADDLE2ONNX: Final = Purpose(
    "paddle2onnx",
    groups=("paddle2onnx",),
    # A conversion is checked with the very ONNX Runtime that serves, and both ends of its pipe run the same numpy.
    agreeing=("agent-cpu",),
    # paddle2onnx 2.1.0 has no wheel for 3.13; an agent on 3.13 makes the environment with another Python.
    pythons=("3.10", "3.11", "3.12"),
    # Asked for below Python 3.12, imported only for an optimisation that is not used, and without wheels for aarch64.
    without=("onnxoptimizer",),
    # Paddle 3.2 needs a part of setuptools that later versions no longer have.
    own=("setuptools",),
)
# What `agent-cpu` holds, in the parts that images are made of (configs/plugins/variants.yml).
NODE_AGENT: Final = Purpose("agent", extras=("agent", "s3"), agreeing=("tools", "agent-cpu"))
CPU: Final = Purpose("hpi-cpu", extras=("agent", "s3", "cpu"), upon=("agent",), agreeing=("tools", "agent-cpu"))
PIPELINES: Final = Purpose(
    "pipelines", extras=AGENT.extras, groups=AGENT.groups, upon=("agent", "hpi-cpu"), agreeing=("tools", "agent-cpu")
)
OCR: Final = Purpose(
    "ocr",
    extras=(*AGENT.extras, "ocr"),
    groups=AGENT.groups,
    upon=("agent", "hpi-cpu", "pipelines"),
    agreeing=("tools", "agent-cpu", "demo"),
)
PARTS: Final = (NODE_AGENT, CPU, PIPELINES, OCR)
PURPOSES: Final = (Purpose("tools", groups=("tools",)), AGENT, DEMO, OPERATOR, TEST, PADDLE2ONNX, *PARTS)
"""In the order of resolution: a purpose may only name earlier ones."""


@dataclass
class Pin:
    """One package of a list."""

    name: str
    version: str
    hashes: set[str] = field(default_factory=set)
    """SHA-256 of every wheel that fits the Python and one of the platforms, in hexadecimal."""


class CannotLock(Exception):
    """The lists cannot be made; the text says what stands in the way."""


def resolve(uv: str, purpose: Purpose, python: str, versions: Mapping[str, str], platform: str) -> dict[str, Pin]:
    """Return the packages of a purpose on one platform, by name.

    Args:
        uv: The resolver's executable.
        purpose: What to resolve.
        python: Version of the interpreter, such as `3.11`.
        versions: Versions that packages have in earlier lists; they keep them.
        platform: One of `PLATFORMS`.

    Raises:
        CannotLock: There is no solution; uv's own words are in the text.
    """
    with tempfile.TemporaryDirectory() as scratch:
        constraints = Path(scratch, "constraints.txt")
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in sorted(versions.items())))
        excluded = Path(scratch, "excluded.txt")
        excluded.write_text("".join(f"{name}\n" for name in purpose.without))
        output = Path(scratch, "pylock.toml")
        command = [uv, "pip", "compile", "pyproject.toml", "--quiet", "--format", "pylock.toml", "-o", str(output)]
        command += ["--python-version", python, "--python-platform", platform, "--only-binary", ":all:"]
        command += ["--exclude-newer", NEWEST, "--constraints", str(constraints), "--excludes", str(excluded)]
        command += [word for extra in purpose.extras for word in ("--extra", extra)]
        command += [word for group in purpose.groups for word in ("--group", group)]
        if not purpose.extras:
            command.remove("pyproject.toml")  # Otherwise the project's own dependencies come along.
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise CannotLock(f"{purpose.name}, Python {python}, {platform}:\n{done.stderr.strip()}")
        return read_pins(tomllib.loads(output.read_text()))


def read_pins(pylock: Mapping[str, Any]) -> dict[str, Pin]:
    """Return the packages of a PEP 751 document by name.

    Its markers are left out: uv resolved for one interpreter and one platform, where each of them holds.

    Raises:
        CannotLock: A package occurs twice, or has no wheel.
    """
    pins: dict[str, Pin] = {}
    for package in pylock.get("packages", []):
        name = package["name"]
        hashes = {wheel["hashes"]["sha256"] for wheel in package.get("wheels", [])}
        if name in pins or not hashes:
            raise CannotLock(f"{name}: {'two versions in one list' if name in pins else 'no wheel'}")
        pins[name] = Pin(name, package["version"], hashes)
    return pins


def merge(by_platform: Mapping[str, Mapping[str, Pin]]) -> dict[str, Pin]:
    """Return one list for several platforms: equal names and versions, the hashes of both.

    Raises:
        CannotLock: The platforms do not agree on the packages or their versions.
    """
    platforms = list(by_platform)
    first = {name: pin.version for name, pin in by_platform[platforms[0]].items()}
    for platform in platforms[1:]:
        other = {name: pin.version for name, pin in by_platform[platform].items()}
        if differing := sorted({name for name, _ in first.items() ^ other.items()}):
            raise CannotLock(
                f"{platforms[0]} and {platform} differ in {', '.join(differing)}; pin them in pyproject.toml"
            )
    return {
        name: Pin(name, version, set().union(*(pins[name].hashes for pins in by_platform.values())))
        for name, version in first.items()
    }


def render(purpose: Purpose, python: str, pins: Iterable[Pin]) -> str:
    """Return the text of a list, packages and hashes in alphabetical order."""
    below = f" Install after: {', '.join(purpose.upon)}." if purpose.upon else ""
    lines = [
        f"# {purpose.name}, Python {python}, Linux on x86_64 and aarch64. Made by `make lock`; do not edit.{below}",
        "# Install with: --no-deps --require-hashes",
        "--only-binary :all:",
    ]
    for pin in sorted(pins, key=lambda pin: pin.name):
        lines += [
            " \\\n    ".join([f"{pin.name}=={pin.version}", *(f"--hash=sha256:{sha}" for sha in sorted(pin.hashes))])
        ]
    return "\n".join(lines) + "\n"


_PIN: Final = re.compile(r"^([a-z0-9][a-z0-9-]*)==([^\s\\]+)", re.MULTILINE)


def written_versions(path: Path) -> dict[str, str]:
    """Return the versions of a list as it is, by name; none where there is no such list."""
    return dict(_PIN.findall(path.read_text())) if path.exists() else {}


def resolve_all(
    uv: str, purpose: Purpose, python: str, versions: Mapping[str, str], kept: Mapping[str, str]
) -> dict[str, Pin]:
    """Return the packages of a purpose on all platforms; those of `kept` keep their versions if that can be.

    Raises:
        CannotLock: There is no solution, whatever versions.
    """

    def resolved(wanted: Mapping[str, str]) -> dict[str, Pin]:
        with ThreadPoolExecutor(len(PLATFORMS)) as pool:
            pins = list(pool.map(partial(resolve, uv, purpose, python, wanted), PLATFORMS))
        return merge(dict(zip(PLATFORMS, pins, strict=True)))

    if kept:
        try:
            return resolved({**kept, **versions})
        except CannotLock as error:
            print(f"lock: {purpose.name}, Python {python}: not with the versions that it has: {error}", file=sys.stderr)
    return resolved(versions)


def lists_for(uv: str, python: str, upgrade: bool) -> dict[str, str]:
    """Return the text of every list of one Python version, by file name."""
    pins: dict[str, dict[str, Pin]] = {}
    texts = {}
    for purpose in PURPOSES:
        if python not in purpose.pythons:
            continue
        known = [name for name in (*purpose.agreeing, *purpose.upon) if name in pins]
        versions = {name: pin.version for earlier in known for name, pin in pins[earlier].items()}
        versions = {name: version for name, version in versions.items() if name not in purpose.own}
        file_name = f"{purpose.name}-py{python.replace('.', '')}.txt"
        kept = {} if upgrade else written_versions(HERE / file_name)
        resolved = resolve_all(uv, purpose, python, versions, kept)
        installed = {name for earlier in purpose.upon for name in pins[earlier]}
        pins[purpose.name] = {name: pin for name, pin in resolved.items() if name not in installed}
        texts[file_name] = render(purpose, python, pins[purpose.name].values())
    return texts


def find_uv() -> str:
    """Return the uv of the environment that runs this file, or the one on PATH.

    Raises:
        CannotLock: There is none.
    """
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise CannotLock("no uv beside this Python and none on PATH; `make lock` sets one up")
    return found


def main() -> int:
    """Write the lists, or with `--check` say which differ; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a list is not up to date")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions up to NEWEST")
    arguments = parser.parse_args()
    check = arguments.check
    try:
        uv = find_uv()
        versions = sorted({python for purpose in PURPOSES for python in purpose.pythons})
        with ThreadPoolExecutor(len(versions)) as pool:  # They wait for the index, not for a processor.
            by_python = list(pool.map(lambda python: lists_for(uv, python, arguments.upgrade), versions))
    except CannotLock as error:
        print(f"lock: {error}", file=sys.stderr)
        return 1
    texts = {name: text for some in by_python for name, text in some.items()}
    stale = sorted(path for path in HERE.glob("*-py3*.txt") if path.name not in texts)
    changed = sorted(
        name for name, text in texts.items() if not (HERE / name).exists() or (HERE / name).read_text() != text
    )
    for name in changed:
        if not check:
            (HERE / name).write_text(texts[name])
        print(f"lock: {name} {'is not up to date' if check else 'written'}")
    for path in stale:
        if not check:
            path.unlink()
        print(f"lock: {path.name} {'belongs to no purpose' if check else 'removed: it belongs to no purpose'}")
    print(f"lock: {len(texts)} lists, {len(changed)} changed, {len(stale)} stale")
    return 1 if check and (changed or stale) else 0


if __name__ == "__main__":
    sys.exit(main())
