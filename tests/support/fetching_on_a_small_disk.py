"""Fetching into a store on a disk that is full, or becomes so; run as a program by the tests of sources.

    python fetching_on_a_small_disk.py no-room|filled|unknown|starved FOLDER      prints one JSON object per trial

A small tmpfs is mounted on FOLDER, in a mount namespace of its own; the server lives in the same process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hpi_agent.models.sources import transfer
from hpi_core.errors import Stop
from support.fetching import Fetcher, weights
from support.http_site import Handler, Site, serving
from support.small_disk import leave_pages, mount, state_of

PATH: Final = "/det.onnx"
WEIGHTS: Final = weights(400_000)
SMALL_BYTES: Final = 4 * 2**20
MOST_PAGES: Final = 150


def command(scenario: str, folder: Path) -> list[str]:
    """Return the command that runs one scenario."""
    own_users = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *own_users, sys.executable, __file__, scenario, str(folder)]


def attempt(fetcher: Fetcher, url: str) -> dict[str, Any]:
    """Fetch and tell how it ended."""
    try:
        fetched = fetcher.fetch(url)
    except Stop as stop:
        return {"failed": str(stop), "right": None}
    return {"failed": None, "right": fetcher.files(fetched) == {"inference.onnx": WEIGHTS}}


def trial(fetcher: Fetcher, site: Site) -> dict[str, Any]:
    """Fetch once; tell how it ended, what was asked for and what lies in the store."""
    site.asked.clear()
    ended = attempt(fetcher, site.url + PATH)
    bodies = [one.range for one in site.asked_for(PATH)]
    used = sum(path.stat().st_size for path in fetcher.root.rglob("*.part"))
    return {**ended, "asked": bodies, "partBytes": used, **state_of(fetcher.root), "entries": fetcher.entries()}


def no_room(disk: Path, site: Site) -> Iterator[dict[str, Any]]:
    """Fetch where less is free than must stay free."""
    site.put(PATH, WEIGHTS)
    yield trial(Fetcher(disk / "store"), site)


def filled(disk: Path, site: Site) -> Iterator[dict[str, Any]]:
    """Fetch while somebody else fills the disk, and again when there is room."""
    transfer.SPARE_BYTES = 0  # type: ignore[misc]

    def fill_in_the_middle(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(WEIGHTS)))
        handler.send_header("ETag", str(site.files[PATH].tag()))
        handler.end_headers()
        handler.wfile.write(WEIGHTS[:200_000])
        handler.wfile.flush()
        while not [part for part in disk.rglob("*.part") if part.stat().st_size == 200_000]:
            handler.server.stopping.wait(0.01)
        leave_pages(disk, 0)
        handler.wfile.write(WEIGHTS[200_000:])
        return True

    site.put(PATH, WEIGHTS)
    site.fail(PATH, fill_in_the_middle)
    fetcher = Fetcher(disk / "store")
    yield trial(fetcher, site)
    (disk / "ballast").unlink()
    yield trial(fetcher, site)


def unknown(disk: Path, site: Site) -> Iterator[dict[str, Any]]:
    """Fetch something whose size nobody knows and that does not fit."""
    site.put(PATH, bytes(2 * SMALL_BYTES), length=False, ranges=False)
    yield trial(Fetcher(disk / "store"), site)


def starved(disk: Path, site: Site) -> Iterator[dict[str, Any]]:
    """Fetch with 0, 1, 2 ... pages left until it succeeds, and each time again with room."""
    transfer.SPARE_BYTES = 0  # type: ignore[misc]
    site.put(PATH, WEIGHTS)
    for left in range(MOST_PAGES):
        fetcher = Fetcher(disk / "store")
        leave_pages(disk, left)
        first = trial(fetcher, site)
        yield {"left": left, **first}
        (disk / "ballast").unlink()
        yield {"left": left, "again": True, **trial(fetcher, site)}
        subprocess.run(["rm", "-rf", str(disk / "store")], check=True)
        if first["failed"] is None:
            return


def main(scenario: str, disk: Path) -> None:
    """Run one scenario."""
    scenarios = {"no-room": no_room, "filled": filled, "unknown": unknown, "starved": starved}
    mount(disk, f"size={SMALL_BYTES}")
    with serving() as site:
        for told in scenarios[scenario](disk, site):
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
