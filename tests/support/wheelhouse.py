"""Tiny real wheels, a list that locks them, and the folder `configs` of a variant made of them."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PYTHON: Final = f"{sys.version_info[0]}.{sys.version_info[1]}"
PASSES: Final = (
    'import json, pathlib, sys, tinyone, tinytwo\npathlib.Path(sys.argv[1]).write_text(json.dumps({"sum": 3}))\n'
)
"""A self-test that imports both packages and writes its report."""


def a_wheel(folder: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    """Write a wheel of pure Python with one console script; return its path."""
    info = f"{name}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = [f"{path},sha256={_record_digest(text)},{len(text.encode())}" for path, text in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            # A fixed date: the same wheel has the same bytes, and the same hash.
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), text)
    return wheel


def a_wheelhouse(folder: Path) -> Path:
    """Write the wheels of `tinyone` 1.0 and `tinytwo` 2.0; return the folder."""
    a_wheel(folder, "tinyone", "1.0", {"tinyone/__init__.py": "VALUE = 1\n\ndef main() -> None:\n    print(VALUE)\n"})
    # A source that does not compile, as real packages carry them.
    a_wheel(folder, "tinytwo", "2.0", {"tinytwo/__init__.py": "VALUE = 2\n", "tinytwo/template.py": "{{ name }} =\n"})
    return folder


def a_list(wheelhouse: Path) -> str:
    """Return the text of a list that locks every wheel of a folder."""
    lines = ["# tiny. Made by a test.", "--only-binary :all:"]
    for wheel in sorted(wheelhouse.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        lines += [f"{name}=={version} \\", f"    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"]
    return "\n".join(lines) + "\n"


def a_configs_folder(
    folder: Path, text: str, *, self_test: str = PASSES, seconds: int = 60, pythons: tuple[str, ...] = (PYTHON,)
) -> Path:
    """Write the table of variants with `tiny` alone, its self-test and its lists; return the folder."""
    (folder / "locks").mkdir(parents=True)
    (folder / "plugins").mkdir()
    (folder / "plugins" / "tiny_self_test.py").write_text(self_test)
    (folder / "plugins" / "variants.yml").write_text(
        "tiny:\n  holds: nothing much\n  architectures: [x86_64, aarch64]\n  glibc: '2.17'\n  diskBytes: 1000000\n"
        f"  selfTest: tiny_self_test.py\n  selfTestSeconds: {seconds}\n"
    )
    for python in pythons:
        (folder / "locks" / f"tiny-py{python.replace('.', '')}.txt").write_text(text)
    return folder


def _record_digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
