"""`kubectl hpi …` as a person types it: the real kubectl finds the plugin in PATH and becomes it.

    kubectl_hpi = KubectlHpi(cluster)
    kubectl_hpi("status", "ocr", "-n", "shop")          # exit code, output, error
    kubectl_hpi.typed("status", "ocr", "-n", "shop")    # the same through the program `kubectl`, two seconds later

Both run the same `main`. Through kubectl it starts two programs and imports all of its libraries anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, Final

from hpi_operator.kubectl.__main__ import main
from support.control_plane.clients import KUBECTL_SECONDS, Answer, Client
from support.control_plane.cluster import ControlPlane

PLUGINS: Final = Path(sys.executable).parent
"""Where the environment of the tests has its programs, the plugin among them."""


class KubectlHpi:
    """Somebody at a terminal, with a kubeconfig."""

    def __init__(self, cluster: ControlPlane, user: Client | None = None, *, kubeconfig: Path | None = None) -> None:
        """Describe it.

        Args:
            cluster: Whose kubectl it is.
            user: Who asks. None: the admin.
            kubeconfig: A file of another one.
        """
        self._cluster = cluster
        self._kubeconfig = kubeconfig or (user or cluster.admin).kubeconfig

    def typed(self, *arguments: str) -> Answer:
        """Run the program `kubectl` with `hpi` and arguments, and the kubeconfig in $KUBECONFIG."""
        done = subprocess.run(
            [str(self._cluster.binaries["kubectl"]), "hpi", *arguments],
            env={
                "PATH": f"{PLUGINS}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
                "HOME": str(self._cluster.folder / "home"),
                "KUBECONFIG": str(self._kubeconfig),
                "PYTHONUTF8": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=KUBECTL_SECONDS,
        )
        assert "unknown command" not in done.stderr, f"kubectl finds no kubectl-hpi in {PLUGINS}: run `make set-up`"
        return Answer(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str) -> Answer:
        """Run what kubectl would start, in this process."""
        own = () if "--kubeconfig" in arguments else ("--kubeconfig", str(self._kubeconfig))
        output, error = (TextIOWrapper(BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with redirect_stdout(output), redirect_stderr(error):
            try:
                code = main([*arguments, *own])
            except SystemExit as end:  # argparse ends the process for a call that it does not take.
                code = int(end.code or 0)
        return Answer(code, _text(output), _text(error))

    def report(self, *arguments: str) -> dict[str, Any]:
        """Return what `-o json` prints."""
        answer = self(*arguments, "-o", "json")
        assert answer.output, answer.error
        found: dict[str, Any] = json.loads(answer.output)
        return found


def _text(stream: TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, BytesIO)
    return buffer.getvalue().decode("utf-8")
