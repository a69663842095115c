"""Processes that fetch: one that is killed in the middle, two at once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

from support import fetching
from support.fetching import Fetcher, weights
from support.http_site import Handler, Site

PATH = "/models/det.onnx"
WEIGHTS = weights(300_000)


class Gate:
    """Sends the first bytes of a file and the rest when it is opened, or when the client has left."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, handler: Handler) -> bool:
        file = handler.server.site.files[PATH]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(file.content)))
        handler.send_header("ETag", str(file.tag()))
        handler.end_headers()
        handler.wfile.write(file.content[: self.first])
        handler.wfile.flush()
        self.reached.set()
        self.opened.wait(60)
        handler.wfile.write(file.content[self.first :])
        return True


def start(store: Path, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, fetching.__file__, str(store), url],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(fetching.__file__).parent.parent), "PATH": ""},
    )


def wait_for(process: subprocess.Popen[str], is_seen: object) -> None:
    """Read lines until one is what is waited for."""
    assert process.stdout is not None
    for line in process.stdout:
        if is_seen(json.loads(line)):  # type: ignore[operator]
            return
    raise AssertionError("the process ended before")


def test_a_process_that_is_killed_in_the_middle_is_followed_by_one_that_goes_on(site: Site, fetcher: Fetcher) -> None:
    gate = Gate(100_000)
    site.put(PATH, WEIGHTS)
    site.fail(PATH, gate)
    with start(fetcher.root, site.url + PATH) as process:
        gate.reached.wait(60)
        part = next_part(fetcher.root, 100_000)
        process.send_signal(signal.SIGKILL)
    gate.opened.set()
    site.asked.clear()

    fetched = fetcher.fetch(site.url + PATH)

    assert process.returncode == -signal.SIGKILL
    assert [one.range for one in site.asked_for(PATH)] == ["bytes=100000-"]
    assert fetcher.files(fetched) == {"inference.onnx": WEIGHTS}
    assert not part.exists()


def next_part(root: Path, size: int) -> Path:
    """Return the file that is being fetched, once it has so many bytes."""
    waiting = threading.Event()
    for _ in range(3_000):
        for part in root.glob("tmp/partial.*/*.part"):
            if part.stat().st_size == size:
                return part
        waiting.wait(0.01)
    raise AssertionError(f"no file of {size} bytes came")


def test_of_two_processes_one_fetches_and_the_other_waits(site: Site, fetcher: Fetcher) -> None:
    gate = Gate(100_000)
    site.put(PATH, WEIGHTS)
    site.fail(PATH, gate)
    with start(fetcher.root, site.url + PATH) as first:
        gate.reached.wait(60)
        with start(fetcher.root, site.url + PATH) as second:
            wait_for(second, lambda seen: seen == [0, None, True])
            gate.opened.set()
            places = [json.loads(process.communicate()[0].splitlines()[-1]) for process in (first, second)]

    assert places[0] == places[1]
    assert len(site.asked_for(PATH)) == 1
    assert fetcher.entries() == ["sources"]


def test_what_was_written_before_the_machine_stopped_is_not_trusted_without_a_digest(
    site: Site, fetcher: Fetcher
) -> None:
    import pytest

    from hpi_core.errors import SourceFailed
    from support.http_site import cut_after

    site.put(PATH, WEIGHTS)
    site.fail(PATH, cut_after(100_000), *[cut_after(0)] * 5)
    with pytest.raises(SourceFailed):
        fetcher.fetch(site.url + PATH)
    [boot] = fetcher.root.glob("tmp/partial.*/boot")
    boot.write_text("another start of the machine")
    # A hole, as a file system leaves it whose blocks had not been written.
    [part] = fetcher.root.glob("tmp/partial.*/*.part")
    part.write_bytes(bytes(100_000))
    site.asked.clear()

    fetched = fetcher.fetch(site.url + PATH)

    assert [one.range for one in site.asked_for(PATH)] == [None]
    assert fetcher.files(fetched) == {"inference.onnx": WEIGHTS}
