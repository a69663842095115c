"""Fetching from a hub or a registry while the disk of the store fills up; run as a program by the tests of sources.

    python hubs_on_a_small_disk.py hf|modelscope|oci FOLDER REGISTRY_FOLDER      prints one JSON object per trial

A small tmpfs is mounted on FOLDER, in a mount namespace of its own; hub or registry run beside it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.models.sources import transfer
from hpi_core.errors import Stop
from support.faulty_proxy import FaultyProxy, faulty_proxy
from support.fetching import Fetcher, weights
from support.hub_repository import HubRepository
from support.hugging_face_server import HuggingFaceHub, hugging_face_hub
from support.loopback_server import Answer
from support.modelscope_server import ModelScopeHub, modelscope_hub
from support.oci_registry.artifacts import push_files
from support.oci_registry.server import oci_registry
from support.small_disk import leave_pages, mount, state_of

WEIGHTS: Final = weights(400_000)
PAGES_LEFT: Final = 40
"""Room for a part of the weights: 160 kB."""


@dataclass(frozen=True)
class Served:
    """A model that is somewhere, and the proxy through which its large file comes."""

    source: str
    endpoint: str | None
    proxy: FaultyProxy
    part: str
    """What the addresses of large files have in them."""


@contextlib.contextmanager
def served(scheme: str, folder: Path) -> Iterator[Served]:
    """Have a model in a hub or a registry until the block ends."""
    with contextlib.ExitStack() as stack:
        if scheme == "oci":
            registry = stack.enter_context(oci_registry(folder))
            push_files(registry.authority, "team/det:1", {"inference.onnx": WEIGHTS})
            proxy = stack.enter_context(faulty_proxy(registry.url))
            yield Served(f"oci://{proxy.server.authority}/team/det:1", None, proxy, "/blobs/")
            return
        hub: HuggingFaceHub | ModelScopeHub
        hub = stack.enter_context(hugging_face_hub()) if scheme == "hf" else stack.enter_context(modelscope_hub())
        hub.add(HubRepository("o", "n")).commit({"inference.onnx": WEIGHTS})
        proxy = stack.enter_context(faulty_proxy(hub.store_url))
        hub.store_url = proxy.url
        yield Served(f"{scheme}://o/n", hub.url, proxy, "/")


def trials(disk: Path, model: Served) -> Iterator[dict[str, Any]]:
    """Fetch while the disk fills up, and again when there is room."""

    def fill(answer: Answer) -> Answer:
        leave_pages(disk, PAGES_LEFT)
        return answer

    model.proxy.change(model.part, fill, times=1)
    fetcher = Fetcher(disk / "store")
    for _ in range(2):
        model.proxy.server.requests.clear()
        ended: dict[str, Any] = {"failed": None, "right": None}
        try:
            fetched = fetcher.fetch(model.source, endpoint=model.endpoint)
            ended["right"] = fetcher.files(fetched) == {"inference.onnx": WEIGHTS}
        except Stop as stop:
            ended["failed"] = str(stop)
        asked = [request.headers.get("range") for request in model.proxy.server.asked(model.part)]
        kept = sum(path.stat().st_size for path in fetcher.root.rglob("*.part"))
        yield {**ended, "asked": asked, "partBytes": kept, **state_of(fetcher.root), "entries": fetcher.entries()}
        (disk / "ballast").unlink(missing_ok=True)


def main(scheme: str, disk: Path, folder: Path) -> None:
    """Run the trials of one scheme."""
    mount(disk, f"size={4 * 2**20}")
    transfer.SPARE_BYTES = 0  # type: ignore[misc]
    with served(scheme, folder) as model:
        for told in trials(disk, model):
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
