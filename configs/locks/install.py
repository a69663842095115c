#!/usr/bin/env python3
"""Set up `.venv` from the lists of this folder: `install.py tools agent-cpu demo`.

A stamp in the environment says what it holds. When nothing changed, the call returns at once; when a list is only
added, that list is installed; when a list changed, or an earlier call was interrupted, the environment is made anew.

pip installs uv from the list `tools`, uv installs the rest. uv reads none of pip's configuration, so a person's index,
certificates and proxies are handed on; when uv fails all the same, pip does its work, and a line says so.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
import venv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
ENVIRONMENT: Final = ROOT / ".venv"
STAMP: Final = ENVIRONMENT / "hpi-set-up.json"
PYTHON: Final = ENVIRONMENT / "bin" / "python"
HASHED: Final = ("--no-deps", "--require-hashes")

UV_NAMES: Final = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "find-links": ("UV_FIND_LINKS",),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "proxy": ("ALL_PROXY", "HTTPS_PROXY", "https_proxy"),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
}
"""pip's settings and the variables that tell uv the same. The first is set unless one of them is set already."""


def read_pip_configuration(listing: str) -> dict[str, str]:
    """Return pip's settings by name, from the output of `pip config list`.

    Lines look like `global.index-url='https://…'`. As in pip itself, a setting for `install` is stronger than a global
    one, and one from the environment (section `:env:`) is stronger than both.
    """
    strength = {"global": 0, "install": 1, ":env:": 2}
    found: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        key, separator, written = line.partition("=")
        section, _, name = key.rpartition(".")
        if not separator or section not in strength:
            continue
        rank = strength[section]
        if rank >= found.get(name, (-1, ""))[0]:
            found[name] = (rank, str(ast.literal_eval(written)))
    return {name: value for name, (_, value) in found.items()}


def uv_variables(pip_settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make uv ask where pip would ask.

    Args:
        pip_settings: pip's settings by name, values as pip writes them: several are separated by white space.
        environment: The variables set already. What a person set for uv is left alone.
    """
    variables: dict[str, str] = {}
    for name, uv_names in UV_NAMES.items():
        words = pip_settings.get(name, "").split()
        if name == "find-links":  # pip warns of a folder that is not there, uv stops.
            words = [word for word in words if "://" in word or Path(word).expanduser().is_dir()]
        if words and not any(uv_name in environment for uv_name in uv_names):
            variables[uv_names[0]] = ("," if name == "find-links" else " ").join(words)
    return variables


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wanted_stamp(purposes: Iterable[str]) -> dict[str, Any]:
    """Return what the stamp says of an environment that holds these purposes and nothing else."""
    version = f"py{sys.version_info[0]}{sys.version_info[1]}"
    return {
        "python": f"{sys.executable} {platform.python_version()}",
        "root": str(ROOT),
        "project": digest(ROOT / "pyproject.toml"),
        "lists": {purpose: digest(HERE / f"{purpose}-{version}.txt") for purpose in purposes},
    }


def read_stamp() -> dict[str, Any] | None:
    """Return the stamp of a finished environment, None where there is none."""
    try:
        stamp: dict[str, Any] = json.loads(STAMP.read_text())
        return stamp if PYTHON.exists() else None
    except (OSError, ValueError):
        return None


def is_reusable(stamp: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Say whether an environment needs at most additions: same interpreter and place, every list in it unchanged."""
    if stamp is None or any(stamp.get(key) != wanted[key] for key in ("python", "root")):
        return False
    version = f"py{sys.version_info[0]}{sys.version_info[1]}"
    lists = {purpose: HERE / f"{purpose}-{version}.txt" for purpose in stamp["lists"]}
    return all(path.exists() and digest(path) == stamp["lists"][purpose] for purpose, path in lists.items())


def run(command: list[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command in the root of the project, its output shown; return its exit status."""
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode  # noqa: S603


def pip(*words: str) -> None:
    """Run the environment's pip.

    Raises:
        SystemExit: pip failed; its message is on the terminal.
    """
    # A personal `user = true` would make pip refuse to work inside an environment.
    environment = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if run([str(PYTHON), "-m", "pip", "install", "--quiet", *words], environment) != 0:
        raise SystemExit("set-up: pip failed; its message is above. Nothing is half done: the next call starts anew.")


def install(*words: str) -> None:
    """Install with uv, or with pip where uv fails."""
    listing = subprocess.run(  # noqa: S603
        [str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings = read_pip_configuration(listing)
    environment = {**os.environ, **uv_variables(settings, os.environ)}
    # The hashes say which files are meant, so it does not matter which index has them.
    command = [str(PYTHON.with_name("uv")), "pip", "install", "--quiet", "--python", str(PYTHON)]
    command += ["--index-strategy", "unsafe-best-match"]
    command += ["--no-index"] if settings.get("no-index", "").lower() in ("1", "true", "yes", "on") else []
    status = run([*command, *words], environment)
    if status != 0:
        say(f"uv failed with status {status}, its message is above; pip does the same, more slowly")
        pip(*words)


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"set-up: {text}", flush=True)


def set_up(purposes: list[str]) -> None:
    """Bring the environment to hold the lists of these purposes and the project itself, editable."""
    wanted = wanted_stamp(purposes)
    stamp = read_stamp()
    reusable = is_reusable(stamp, wanted)
    present = stamp["lists"] if stamp is not None and reusable else {}
    missing = [purpose for purpose in purposes if purpose not in present]
    if reusable and not missing and stamp is not None and stamp["project"] == wanted["project"]:
        return
    start = time.monotonic()
    STAMP.unlink(missing_ok=True)  # From here on an interruption leaves an environment that counts as none.
    if not reusable:
        say(f".venv with Python {platform.python_version()} ({sys.executable})")
        venv.EnvBuilder(clear=True, symlinks=True, with_pip=True).create(ENVIRONMENT)
    say(f"the environment is there after {time.monotonic() - start:.0f} s")
    version = f"py{sys.version_info[0]}{sys.version_info[1]}"
    lists = {purpose: str(HERE / f"{purpose}-{version}.txt") for purpose in missing}
    if "tools" in lists:
        pip(*HASHED, "-r", lists.pop("tools"))
        say(f"the installer is there after {time.monotonic() - start:.0f} s")
    if lists:
        install(*HASHED, *(word for path in lists.values() for word in ("-r", path)))
        say(f"{', '.join(lists)}: there after {time.monotonic() - start:.0f} s")
    install("--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    draft = STAMP.with_suffix(".draft")
    draft.write_text(json.dumps({**wanted, "lists": {**present, **wanted["lists"]}}, indent=1))
    draft.replace(STAMP)
    say(f"{time.monotonic() - start:.0f} s")


def main() -> int:
    """Set up, one call at a time; return the exit status."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        say(f"the lists are for Linux on x86_64 and aarch64; this is {sys.platform} on {platform.machine()}")
        return 1
    with Path(__file__).open() as itself:  # Two calls of make at once take turns.
        fcntl.flock(itself, fcntl.LOCK_EX)
        set_up(sys.argv[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
