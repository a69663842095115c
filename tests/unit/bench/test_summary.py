from __future__ import annotations

from bench.startup import sum_own
from bench.startup import summarise as summarise_startup
from bench.summary import Measured, Reading, summarise
from support.text_error import CharacterError


def a_reading(seconds: float, edits: int = 0) -> Reading:
    return Reading(seconds, {"det": seconds / 2}, CharacterError(edits, 100))


def measured(**sides: dict[str, list[Reading]]) -> Measured:
    """Return the readings of some sides, each by page."""
    result = Measured()
    for side, readings_by_page in sides.items():
        for page, readings in readings_by_page.items():
            for reading in readings:
                result.add(page, side, reading)
    return result


def test_a_time_is_the_median_over_pages_of_the_median_over_readings() -> None:
    pages = {
        "small": [a_reading(1)],
        "a": [a_reading(1), a_reading(2), a_reading(9)],
        "b": [a_reading(3)],
        "c": [a_reading(4)],
    }

    figures = summarise(measured(theirs=pages), "small", ["a", "b", "c"])

    assert figures["sides"]["theirs"]["large"]["milliseconds"] == 3000


def test_a_ratio_compares_page_by_page_so_that_long_pages_weigh_no_more() -> None:
    theirs = {"small": [a_reading(1)], "a": [a_reading(2)], "b": [a_reading(3)], "c": [a_reading(100)]}
    ours = {"small": [a_reading(2)], "a": [a_reading(1)], "b": [a_reading(1)], "c": [a_reading(100)]}

    figures = summarise(measured(theirs=theirs, ours=ours), "small", ["a", "b", "c"])["sides"]

    assert (figures["theirs"]["large"]["ratio"], figures["ours"]["large"]["ratio"]) == (1, 2)
    assert figures["ours"]["small"]["ratio"] == 0.5


def test_the_rest_is_what_the_models_did_not_take() -> None:
    figures = summarise(measured(theirs={"small": [a_reading(0.4)]}), "small", [])["sides"]["theirs"]["small"]

    assert (figures["modelMilliseconds"], figures["restMilliseconds"]) == ({"det": 200}, 200)


def test_a_page_that_was_read_twice_counts_once_in_the_character_error() -> None:
    pages = {"small": [a_reading(1)], "a": [a_reading(1, edits=3), a_reading(1, edits=3)], "b": [a_reading(1, edits=1)]}

    large = summarise(measured(theirs=pages), "small", ["a", "b"])["sides"]["theirs"]["large"]

    assert (large["characterErrors"], large["characters"], large["characterErrorRate"]) == (4, 200, 0.02)


def test_pages_that_there_was_no_time_for_are_counted_and_left_out() -> None:
    figures = summarise(measured(theirs={"small": [a_reading(1)], "a": [a_reading(2)]}), "small", ["a", "b"])

    assert figures["largePages"] == {"read": 1, "of": 2, "readings": 1}
    assert figures["sides"]["theirs"]["large"]["milliseconds"] == 2000


def test_only_our_own_modules_are_summed_from_the_import_times() -> None:
    told = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:      1000 |       1000 |   numpy\n"
        "import time:       200 |       1200 |     hpi_agent.engines\n"
        "import time:       300 |        300 | hpi_core\n"
        "another line on standard error\n"
    )

    assert sum_own(told) == 0.0005


def test_imports_are_shown_without_the_start_of_the_interpreter() -> None:
    rows = summarise_startup({"interpreter": [0.01, 0.02, 0.03], "ownImport": [0.2, 0.22, 0.9], "ready": [3.0]})

    assert [rows[name]["seconds"] for name in ("interpreter", "ownImport", "ready")] == [0.02, 0.2, 3.0]
