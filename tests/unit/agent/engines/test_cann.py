"""The version of CANN beside pyACL, from the files that its releases write."""

from __future__ import annotations

from pathlib import Path

import pytest

from doubles.ascend_runtimes import presented
from hpi_agent.engines.cann import UNKNOWN, installed_cann, version_beside


@pytest.mark.parametrize(
    ("file", "content", "version"),
    [
        ("aarch64-linux/ascend_toolkit_install.info", "package_name=x\nversion=8.0.RC3\narch=aarch64\n", "8.0.RC3"),
        ("x86_64-linux/ascend_toolkit_install.info", "version=8.5.0\n", "8.5.0"),
        ("x86_64-linux/ascend_nnrt_install.info", "Version_dir=a\nversion = 7.0.1 \n", "7.0.1"),
        ("version.cfg", "# version: 1.0\ntoolkit_running_version=[7.5.0.1.129:8.0.RC3]\n", "8.0.RC3"),
        ("version.cfg", "# version: 1.0\ntoolkit_installed_version=[7.6.0.1.220:8.0.0]\n", "8.0.0"),
        ("version.cfg", "runtime_running_version=[7.6.0]\n", UNKNOWN),
        ("version.info", "version=1\n", UNKNOWN),
    ],
)
def test_the_version_is_the_one_that_the_files_of_cann_say(
    file: str, content: str, version: str, tmp_path: Path
) -> None:
    acl = tmp_path / "python" / "site-packages" / "acl.so"
    acl.parent.mkdir(parents=True)
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)

    assert version_beside(acl) == version


def test_a_file_far_above_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "version.cfg").write_text("version=9\n")

    assert version_beside(tmp_path / "a" / "b" / "c" / "d" / "e" / "acl.so") == UNKNOWN


def test_where_acl_cannot_be_imported_there_is_no_cann() -> None:
    assert installed_cann() is None


def test_the_double_lies_where_cann_has_it() -> None:
    with presented():
        assert installed_cann() == "8.0.RC3"
