"""The root of an image, unpacked, and programs in it as a container would run them: read-only, without rights.

No container runtime is needed for that: a mount namespace, `chroot` and `setpriv` do what a test looks at.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from image_build.oci_archive import OciArchive, read_archive

GIVEN: Final = "/tmp/given"
"""Where a folder of the test is seen, read-only."""
SECONDS: Final = 300.0
_ENTER: Final = """
root=$1 given=$2
shift 2
ip link set lo up
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
if [ -n "$given" ]; then
    mkdir "$root/tmp/given"
    mount --bind "$given" "$root/tmp/given"
    mount -o remount,bind,ro "$root/tmp/given"
fi
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Unpacked:
    """One image on the disk."""

    root: Path
    archive: OciArchive

    def run(
        self, *command: str, given: Path | None = None, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the image: read-only root, a network of its own, the image's user and variables.

        Args:
            command: The program and its arguments.
            given: A folder that it sees at `GIVEN`.
            variables: Beside those of the image.
        """
        user, _, group = str(self.archive.config["User"]).partition(":")
        set_variables = [*self.archive.config["Env"], *(f"{name}={value}" for name, value in (variables or {}).items())]
        as_user = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
        as_user += ["--bounding-set=-all", "--inh-caps=-all"]
        words = [*as_user, "env", "-i", *set_variables, *command]
        enter = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-ec", _ENTER, "sh", str(self.root)]
        return subprocess.run(
            [*enter, str(given or ""), *words], capture_output=True, text=True, timeout=SECONDS, check=False
        )


def unpack(path: Path, root: Path) -> Unpacked:
    """Unpack all layers of an OCI archive into a folder, with owners and modes; needs root."""
    archive = read_archive(path)
    root.mkdir(parents=True)
    with tarfile.open(path) as outer:
        for digest in archive.layers:
            blob = outer.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
            with tarfile.open(fileobj=blob, mode="r|*") as layer:
                layer.extractall(root, numeric_owner=True, filter="fully_trusted")  # noqa: S202 - our own image
    return Unpacked(root, archive)
