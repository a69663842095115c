"""A claim with a model that is mounted read-only, and models assembled from it; run as a program by a test.

python read_only_claim.py CLAIMS STORE      mounts CLAIMS in a mount namespace of its own; prints one JSON object
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

from hpi_agent.models.assemble import AssembledModel, Fetching, assemble
from hpi_agent.models.sources.settings import SourceSettings
from hpi_agent.store.directory import Store
from support.small_disk import mount


def command(claims: Path, store: Path) -> list[str]:
    """Return the command that runs it."""
    own_users = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *own_users, sys.executable, __file__, str(claims), str(store)]


def main(claims: Path, store: Path) -> None:
    """Mount, assemble, and tell."""
    mount(claims, "size=1m")
    parts = store.parent / "parts"
    parts.mkdir()
    (parts / "det.yml").write_text("Global: {model_name: det}\n")
    directory = claims / "models" / "det"
    directory.mkdir(parents=True)
    (directory / "inference.onnx").write_bytes(b"weights of a claim")
    (directory / "inference.yml").write_text("Global: {model_name: det}\n")
    mount(claims, "remount,ro")

    def assembled(source: str) -> AssembledModel:
        return assemble(
            "det",
            source,
            None,
            store=Store(store),
            models=parts,
            read_metadata=lambda path: {},
            fetching=Fetching(settings=SourceSettings(claims=claims)),
        )

    sources = ["pvc://models/det", f"file://{directory}", "pvc://models/det/inference.onnx"]
    told = {source: str(assembled(source).directory) for source in sources}
    try:
        (directory / "written").touch()
    except OSError as error:
        print(json.dumps({**told, "error": errno.errorcode[error.errno or 0]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
