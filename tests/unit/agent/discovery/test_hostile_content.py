"""Whatever a file of the host holds, the answer is a machine that can be printed or an error of ours."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpi_agent.commands.detect import document, print_table
from hpi_agent.discovery import detect
from hpi_core.errors import HpiError
from support.host_trees import host_files, host_tree

HOSTS = ("hybrid-v1-quota-in-ancestor", "container-v1-combined", "host-v2-nested-aarch64")

places = st.sampled_from([(host, path) for host in HOSTS for path in host_files(host)])
pieces = st.sampled_from([b"\0", b"\n", b":", b" - cgroup2 c rw", b"/../", b"-1", b"max", b"0::/", b"9" * 30, b"\x1b["])


V1_QUOTA = ("hybrid-v1-quota-in-ancestor", "/sys/fs/cgroup/cpu/batch/cpu.cfs_quota_us")


@example(V1_QUOTA, [b"\x1c"], 0)  # str.strip takes this separator away, int() does not.
@given(places, st.lists(pieces | st.binary(max_size=8), max_size=6), st.integers(0, 400))
@settings(max_examples=30, deadline=None)
def test_any_content_gives_a_printable_machine_or_a_printable_error_of_ours(
    place: tuple[str, str], garbage: list[bytes], position: int
) -> None:
    host, path = place
    with tempfile.TemporaryDirectory() as directory:
        file = host_tree(Path(directory), host) / path.lstrip("/")
        content = file.read_bytes()
        file.write_bytes(content[:position] + b"".join(garbage) + content[position:])

        printed = printed_machine_or_error(Path(directory) / "host")

    assert printed.isascii()
    assert printed.replace("\n", "").isprintable()


def printed_machine_or_error(root: Path) -> str:
    try:
        machine = detect(root)
    except HpiError as error:
        return str(error)
    table = io.StringIO()
    print_table(machine, table)
    return table.getvalue() + json.dumps(document(machine))
