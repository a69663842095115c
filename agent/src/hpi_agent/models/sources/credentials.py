"""Credentials from a folder: one sub-folder for each Secret, one file for each of its keys, as Kubernetes mounts them.

Nothing else is ever looked at: no `~/.aws`, no `~/.netrc`, no token of a hub's own client, no metadata service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hpi_core.errors import Refused, SourceFailed

KEYS: Final = (
    "token",
    "username",
    "password",
    "accessKeyId",
    "secretAccessKey",
    "sessionToken",
    "region",
    "ca.crt",
    ".dockerconfigjson",
    "realm",
)
"""Keys that are read; all others of a Secret are left alone."""

MAX_BYTES: Final = 1_048_576
"""Largest file that is read: the size of a whole Secret in Kubernetes."""

_SECRET_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
"""Names of Secrets, RFC 1123 subdomains: no separator of paths, no name of a parent directory."""
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]")
_SEVERAL_LINES: Final = ("ca.crt", ".dockerconfigjson")


class Secret:
    """A text that shows itself to nobody who does not ask by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> str:
        # Pickled or copied into another process it would be written somewhere.
        raise TypeError("a secret is not serialised")


@dataclass(frozen=True)
class Credentials:
    """The keys of one Secret; `ca.crt` is among them though it is none."""

    name: str
    _values: Mapping[str, Secret] = field(default_factory=dict, repr=False)

    def get(self, key: str) -> Secret | None:
        """Return one key, or None when the Secret has no such key."""
        if key not in KEYS:
            raise KeyError(key)
        return self._values.get(key)

    def require(self, key: str) -> Secret:
        """Return one key.

        Raises:
            Refused: The Secret has no such key.
        """
        value = self.get(key)
        if value is None:
            raise Refused(f"credentials {self.name!r} have no {key}; they have {sorted(self._values)}")
        return value


def read_credentials(root: Path | None, name: str) -> Credentials:
    """Return the keys of one Secret.

    Args:
        root: The folder of all Secrets, or None when nobody named one.
        name: What the manifest's `credentialsSecretRef` names.

    Raises:
        Refused: The name is none of a Secret, or a file holds what no such key can hold.
        SourceFailed: There is no such folder, or it cannot be read.
    """
    if not _SECRET_NAME.fullmatch(name):
        raise Refused(f"credentialsSecretRef {name!r} must be the name of a Secret: a-z, 0-9, '-' and '.'")
    if root is None:
        raise SourceFailed(
            f"credentials {name!r}: no folder of credentials is known here; name one with --credentials DIR or "
            f"$HPI_CREDENTIALS that has a sub-folder {name} with one file for each key"
        )
    folder = root / name
    if not folder.is_dir():
        raise SourceFailed(
            f"credentials {name!r}: there is no folder {folder}; make it, with one file for each key: {', '.join(KEYS)}"
        )
    found = {key: value for key in KEYS if (value := _read(folder, name, key)) is not None}
    if not found:
        raise SourceFailed(f"credentials {name!r}: {folder} has none of {', '.join(KEYS)}; add what is needed")
    return Credentials(name, found)


def _read(folder: Path, name: str, key: str) -> Secret | None:
    # Kubernetes mounts every key as a link to a dated folder beside it.
    path = folder / key
    try:
        if not path.resolve(strict=True).is_relative_to(folder.resolve()):
            raise Refused(f"credentials {name!r}: {path} leads out of its folder")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError) as error:
        raise SourceFailed(
            f"credentials {name!r}: {path} cannot be read: {getattr(error, 'strerror', None) or 'links in a circle'}"
        ) from error
    if len(data) > MAX_BYTES:
        raise Refused(f"credentials {name!r}: {path} is larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is not None and key not in _SEVERAL_LINES:
        text = text.removesuffix("\n").removesuffix("\r")
    if not text or (key not in _SEVERAL_LINES and _UNPRINTABLE.search(text)):
        # What it holds instead is not told: it may be a secret with one wrong byte.
        kind = "text" if key in _SEVERAL_LINES else "one line of text"
        raise Refused(f"credentials {name!r}: {path} must hold {kind} in UTF-8, and not be empty")
    return Secret(text)
