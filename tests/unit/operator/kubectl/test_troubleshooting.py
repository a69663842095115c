"""The page of every reason: made from the reasons' own words, and up to date."""

from __future__ import annotations

import re
from pathlib import Path

from hpi_core.reasons import REASONS
from hpi_operator.kubectl.reports.commands import LOOK, Place, filled, look
from hpi_operator.kubectl.troubleshooting import main, page
from support.project import ROOT

PAGE = ROOT / "operator" / "TROUBLESHOOTING.md"
EVERYWHERE = Place(namespace="shop", name="ocr", node="n1", operator="ops", agents="agents")


def test_the_page_is_what_the_reasons_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_the_page_has_a_row_for_every_reason_with_its_own_words() -> None:
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", page(), re.MULTILINE)}

    for name, one in REASONS.items():
        assert one.meaning in rows[name]
        assert one.remedy in rows[name]


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    assert main(["-o", str(tmp_path / "page.md")]) == 0

    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page()


def test_commands_are_for_reasons_that_exist() -> None:
    assert set(LOOK) - set(REASONS) == {"NotLookedAt"}


def test_every_name_of_a_command_finds_its_place() -> None:
    commands = [command for reason in LOOK for command in look(reason, EVERYWHERE)]

    assert [one for one in commands if re.search(r"[A-Z]{4,}", one)] == []
    assert "kubectl logs -n ops deployment/hpi-operator --tail=50" in commands


def test_a_command_about_every_node_names_none() -> None:
    assert filled("kubectl hpi nodes NODE", Place()) == "kubectl hpi nodes"
