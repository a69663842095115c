"""What /proc says of one process, read from recorded texts."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.processes.process_tree import (
    MEMORY_FIELDS,
    SHARE_FIELDS,
    ProcessTree,
    parse_kilobytes,
    parse_stat,
    read_stat,
)

TAIL = "S 1 4711 4711 0 -1 4194560 2212 881 0 0 31 7 1000 200 20 0 3 0 8813 23 8 18446744073709551615"
STATUS = """\
Name:\tpython3
VmHWM:\t  904512 kB
VmRSS:\t  454512 kB
RssAnon:\t  400000 kB
RssFile:\t   54500 kB
RssShmem:\t      12 kB
VmSwap:\t       3 kB
"""
ROLLUP = """\
55d0c3a00000-7ffd4b5fe000 ---p 00000000 00:00 0                          [rollup]
Rss:              300000 kB
Pss:              120000 kB
Pss_Anon:          90000 kB
Pss_File:          29000 kB
Pss_Shmem:          1000 kB
SwapPss:               5 kB
"""


@given(st.text(st.characters(blacklist_characters="\n\0", codec="ascii"), max_size=15))
def test_a_process_is_read_whatever_its_name(name: str) -> None:
    stat = parse_stat(f"4711 ({name}) {TAIL}\n")

    assert (stat.pid, stat.state, stat.parent, stat.session) == (4711, "S", 1, 4711)
    assert (stat.ticks, stat.started) == (31 + 7 + 1000 + 200, 8813)


@pytest.mark.parametrize("text", ["", "4711 (python3", "4711 (python3) S 1 2", "python3) " + TAIL])
def test_a_line_that_is_cut_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no line of"):
        parse_stat(text)


def test_the_memory_of_one_process_leaves_out_pages_of_files() -> None:
    assert parse_kilobytes(STATUS, MEMORY_FIELDS) == 1024 * (400000 + 12 + 3)


def test_the_share_of_a_process_leaves_out_pages_of_files() -> None:
    assert parse_kilobytes(ROLLUP, SHARE_FIELDS) == 1024 * (90000 + 1000 + 5)


def test_a_process_that_is_gone_is_nobody() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)

    assert read_stat(pid) is None
    assert ProcessTree(pid).members() == []
    assert ProcessTree(pid).memory_bytes() == 0
    assert ProcessTree(pid).kill()
