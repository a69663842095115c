"""Files from a server of HTTP: whole, resumed, remembered, or refused; against a real server on this machine."""

from __future__ import annotations

import gzip

import pytest

from hpi_agent.models.sources.files import ModelDirectory, WeightsFile
from hpi_agent.models.sources.limits import Limits
from hpi_agent.models.sources.patience import Timeouts
from hpi_agent.store.directory import find_damage
from hpi_core.digest import digest_of_bytes
from hpi_core.errors import Refused, SourceFailed, TooLarge
from support.fetching import Fetcher, weights
from support.http_site import (
    Site,
    change_to,
    cut_after,
    fall_silent_after,
    http_date,
    lie_about_length,
    say_status,
)

ONNX = "/models/det.onnx"
WEIGHTS = weights()
OTHER = weights(seed=2)


def test_one_onnx_file_comes_into_the_store_byte_for_byte(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)

    fetched = fetcher.fetch(site.url + ONNX)

    assert isinstance(fetched.located, WeightsFile)
    assert fetcher.files(fetched) == {"inference.onnx": WEIGHTS}
    assert find_damage(fetched.located.path.parent) is None
    assert (fetched.notes, fetcher.left_over()) == ((), [])


def test_of_a_folder_the_known_files_come_and_no_others(site: Site, fetcher: Fetcher) -> None:
    held = {"inference.yml": b"Global: {}", "inference.json": b"program", "inference.pdiparams": WEIGHTS}
    for name, content in {**held, "scaler.pkl": b"a program of Python's", "README.md": b"words"}.items():
        site.put(f"/m/{name}", content)

    fetched = fetcher.fetch(f"{site.url}/m/")

    assert isinstance(fetched.located, ModelDirectory)
    assert fetcher.files(fetched) == held
    assert not [one for one in site.asked if "pkl" in one.target]


def test_a_file_that_is_cut_is_resumed_where_it_ended(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    site.fail(ONNX, cut_after(70_000), cut_after(50_000))

    fetched = fetcher.fetch(site.url + ONNX)

    assert [one.range for one in site.asked_for(ONNX)] == [None, "bytes=70000-", "bytes=120000-"]
    assert all(one.headers["if-range"] == site.files[ONNX].tag() for one in site.asked_for(ONNX)[1:])
    assert fetcher.files(fetched) == {"inference.onnx": WEIGHTS}


def test_a_file_that_changes_between_cut_and_resume_comes_as_it_is_now_and_never_mixed(
    site: Site, fetcher: Fetcher, caplog: pytest.LogCaptureFixture
) -> None:
    site.put(ONNX, WEIGHTS)
    site.fail(ONNX, cut_after(70_000), change_to(OTHER))

    fetched = fetcher.fetch(site.url + ONNX)

    assert fetcher.files(fetched) == {"inference.onnx": OTHER}
    assert "changed while it was read" in caplog.text


def test_a_file_that_never_rests_is_given_up(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    site.fail(ONNX, *(change_to(weights(seed=seed)) for seed in range(10, 20)))

    with pytest.raises(SourceFailed, match="changed 3 times while it was fetched"):
        fetcher.fetch(site.url + ONNX)

    assert fetcher.entries() == []


@pytest.mark.parametrize("how", [{"ranges": False}, {"etag": "weak"}, {"etag": None, "modified": http_date(1e9)}])
def test_where_nothing_can_be_resumed_a_cut_file_starts_over(
    how: dict[str, object], site: Site, fetcher: Fetcher
) -> None:
    site.put(ONNX, WEIGHTS, **how)
    site.fail(ONNX, cut_after(70_000))

    fetched = fetcher.fetch(site.url + ONNX)

    assert fetcher.files(fetched) == {"inference.onnx": WEIGHTS}


def test_a_server_that_sends_less_than_was_asked_for_is_asked_for_the_rest(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS, largest_part=60_000)
    site.fail(ONNX, cut_after(70_000))

    fetched = fetcher.fetch(site.url + ONNX)

    ranges = [one.range for one in site.asked_for(ONNX)]
    assert ranges == [None, "bytes=70000-", "bytes=130000-", "bytes=190000-"]
    assert fetcher.files(fetched) == {"inference.onnx": WEIGHTS}


def test_of_what_begins_again_nothing_of_the_first_time_is_left(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS, length=False, etag=None, ranges=False)
    site.fail(ONNX, cut_after(70_000), change_to(OTHER[:1_000]))

    assert fetcher.files(fetcher.fetch(site.url + ONNX)) == {"inference.onnx": OTHER[:1_000]}


def test_a_length_that_is_too_large_is_a_cut_and_no_model(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    site.fail(ONNX, lie_about_length(100))

    fetched = fetcher.fetch(site.url + ONNX)

    assert fetcher.files(fetched) == {"inference.onnx": WEIGHTS}


def test_a_server_that_cuts_at_the_same_byte_again_and_again_is_given_up_with_what_came_kept(
    site: Site, fetcher: Fetcher
) -> None:
    site.put(ONNX, WEIGHTS)
    site.fail(ONNX, cut_after(70_000), *[cut_after(0)] * 20)

    with pytest.raises(SourceFailed) as caught:
        fetcher.fetch(site.url + ONNX)

    assert str(caught.value) == (
        f"source '{site.url}{ONNX}': inference.onnx cannot be fetched (70000 bytes of it are kept for the next try): "
        f"{site.url}{ONNX}: the connection failed or was cut (the server ended it); 6 attempts failed. Try again when "
        "the server answers"
    )
    assert fetcher.clock.slept == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert fetcher.entries() == []


def test_what_came_before_a_failure_is_not_asked_for_again_by_the_next_process(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    site.fail(ONNX, cut_after(70_000), *[cut_after(0)] * 5)
    with pytest.raises(SourceFailed):
        fetcher.fetch(site.url + ONNX)
    site.asked.clear()

    fetched = Fetcher(fetcher.root).fetch(site.url + ONNX)

    assert [one.range for one in site.asked_for(ONNX)] == ["bytes=70000-"]
    assert fetcher.files(fetched) == {"inference.onnx": WEIGHTS}
    assert fetcher.left_over() == []


def test_a_warm_start_asks_whether_anything_changed_and_fetches_nothing(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    first = fetcher.fetch(site.url + ONNX)
    site.asked.clear()

    again = fetcher.fetch(site.url + ONNX)

    assert again.located == first.located
    assert [one.range for one in site.asked] == ["bytes=0-0"]


def test_with_a_digest_and_the_entry_in_the_store_nobody_is_asked(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    first = fetcher.fetch(site.url + ONNX)
    site.asked.clear()

    again = fetcher.fetch(site.url + ONNX, digest_of_bytes([WEIGHTS]))

    assert (again.located, again.notes, site.asked) == (first.located, (), [])


def test_a_digest_finds_an_older_version_that_the_store_still_has(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    first = fetcher.fetch(site.url + ONNX)
    site.put(ONNX, OTHER)
    fetcher.fetch(site.url + ONNX)

    again = fetcher.fetch(site.url + ONNX, digest_of_bytes([WEIGHTS]))

    assert again.located == first.located


def test_a_changed_file_is_fetched_anew(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    fetcher.fetch(site.url + ONNX)
    site.put(ONNX, OTHER)

    assert fetcher.files(fetcher.fetch(site.url + ONNX)) == {"inference.onnx": OTHER}


def test_a_wrong_digest_is_refused_with_both_and_nothing_is_published_or_kept(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    wanted = digest_of_bytes([OTHER])

    with pytest.raises(Refused) as caught:
        fetcher.fetch(site.url + ONNX, wanted)

    assert digest_of_bytes([WEIGHTS]) in str(caught.value)
    assert wanted in str(caught.value)
    assert (fetcher.entries(), fetcher.left_over()) == ([], [])


def test_when_the_server_is_away_what_it_gave_last_is_used_and_said(
    site: Site, fetcher: Fetcher, caplog: pytest.LogCaptureFixture
) -> None:
    site.put(ONNX, WEIGHTS)
    first = fetcher.fetch(site.url + ONNX)
    site.always[ONNX] = say_status(503)

    again = fetcher.fetch(site.url + ONNX)

    assert again.located == first.located
    assert again.notes == (
        f"source '{site.url}{ONNX}' does not answer now ({site.url}{ONNX} answers 503); what it gave last is used: "
        f"{digest_of_bytes([WEIGHTS])}",
    )
    assert again.notes[0] in caplog.text
    assert fetcher.clock.slept == [1.0]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_server_that_says_no_is_not_overruled_by_what_it_gave_last(status: int, site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    fetcher.fetch(site.url + ONNX)
    site.always[ONNX] = say_status(status)

    with pytest.raises(SourceFailed, match=f"answers {status}"):
        fetcher.fetch(site.url + ONNX)


def test_what_the_store_has_of_another_digest_does_not_stand_in_when_the_server_is_away(
    site: Site, fetcher: Fetcher
) -> None:
    site.put(ONNX, WEIGHTS)
    fetcher.fetch(site.url + ONNX)
    site.always[ONNX] = say_status(503)

    with pytest.raises(SourceFailed, match="6 attempts failed"):
        fetcher.fetch(site.url + ONNX, digest_of_bytes([OTHER]))


def test_an_entry_that_was_damaged_in_the_store_is_fetched_again(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    first = fetcher.fetch(site.url + ONNX)
    first.located.path.write_bytes(OTHER)

    again = fetcher.fetch(site.url + ONNX)

    assert fetcher.files(again) == {"inference.onnx": WEIGHTS}


def test_an_entry_that_was_collected_is_fetched_again(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    fetcher.fetch(site.url + ONNX)
    fetcher.store.collect(0)

    assert fetcher.files(fetcher.fetch(site.url + ONNX)) == {"inference.onnx": WEIGHTS}


def test_a_server_without_etag_and_date_is_read_anew_each_time_and_that_is_said(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS, etag=None)
    fetcher.fetch(site.url + ONNX)

    again = fetcher.fetch(site.url + ONNX)

    assert len(site.asked_for(ONNX)) == 2
    assert "has neither ETag nor date: it is fetched anew at every start" in again.notes[0]


def test_with_a_digest_a_server_without_etag_and_date_is_read_once(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS, etag=None)
    digest = digest_of_bytes([WEIGHTS])
    fetcher.fetch(site.url + ONNX, digest)

    fetcher.fetch(site.url + ONNX, digest)

    assert len(site.asked_for(ONNX)) == 1


@pytest.mark.parametrize("length", [True, False], ids=["with a length", "in chunks"])
def test_what_is_compressed_on_its_way_is_unpacked(length: bool, site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS, coding="gzip", length=length)
    site.fail(ONNX, cut_after(70_000))

    fetched = fetcher.fetch(site.url + ONNX)

    assert fetcher.files(fetched) == {"inference.onnx": WEIGHTS}


def test_nothing_compressed_is_asked_for(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)

    fetcher.fetch(site.url + ONNX)

    assert {one.headers["accept-encoding"] for one in site.asked} == {"identity"}


def test_a_coding_that_nobody_asked_for_and_nobody_knows_is_no_model(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS, coding="br")

    with pytest.raises(SourceFailed, match="in the coding 'br' though none was asked for"):
        fetcher.fetch(site.url + ONNX)


def test_a_file_without_a_length_comes_whole(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS, length=False, ranges=False)

    assert fetcher.files(fetcher.fetch(site.url + ONNX)) == {"inference.onnx": WEIGHTS}


def test_a_file_without_a_length_that_is_cut_is_not_taken_for_whole(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS, length=False, ranges=False)
    site.fail(ONNX, cut_after(70_000))

    assert fetcher.files(fetcher.fetch(site.url + ONNX)) == {"inference.onnx": WEIGHTS}


def test_a_server_that_falls_silent_is_left_and_asked_again(site: Site, fetcher: Fetcher) -> None:
    fetcher.settings["timeouts"] = Timeouts(connect=5.0, headers=5.0, silence=0.1)
    site.put(ONNX, WEIGHTS)
    site.fail(ONNX, fall_silent_after(70_000))

    fetched = fetcher.fetch(site.url + ONNX)

    assert [one.range for one in site.asked_for(ONNX)] == [None, "bytes=70000-"]
    assert fetcher.files(fetched) == {"inference.onnx": WEIGHTS}


def test_a_server_that_sends_a_few_bytes_a_minute_is_given_up(site: Site, fetcher: Fetcher) -> None:
    # Every look at the clock is a minute later than the one before, and each chunk is looked at once.
    fetcher.clock.step = 61.0
    fetcher.patience["stall_bytes"] = 10**9
    site.put(ONNX, WEIGHTS, ranges=False)

    with pytest.raises(SourceFailed, match=r"bytes came in \d+ s; 6 attempts failed"):
        fetcher.fetch(site.url + ONNX)


def test_a_server_that_asks_to_wait_is_obeyed(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    site.fail(ONNX, say_status(429, {"Retry-After": "7"}), say_status(503))

    fetcher.fetch(site.url + ONNX)

    assert fetcher.clock.slept == [7.0, 2.0]


def test_a_server_that_asks_to_wait_for_hours_is_not_waited_for(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    site.fail(ONNX, say_status(429, {"Retry-After": "7200"}))

    with pytest.raises(SourceFailed, match="asks to wait 7200 s; at most 120 s are waited here"):
        fetcher.fetch(site.url + ONNX)

    assert fetcher.clock.slept == []


def test_a_server_that_fails_at_first_is_asked_again(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, WEIGHTS)
    site.fail(ONNX, say_status(500), say_status(502))

    assert fetcher.files(fetcher.fetch(site.url + ONNX)) == {"inference.onnx": WEIGHTS}


@pytest.mark.parametrize(("total", "works"), [(len(WEIGHTS), True), (len(WEIGHTS) - 1, False)])
def test_a_source_may_have_as_many_bytes_as_are_allowed(total: int, works: bool, site: Site, fetcher: Fetcher) -> None:
    fetcher.settings["limits"] = Limits(total)
    site.put(ONNX, WEIGHTS)

    if works:
        assert fetcher.files(fetcher.fetch(site.url + ONNX)) == {"inference.onnx": WEIGHTS}
        return
    with pytest.raises(TooLarge, match=f"has {len(WEIGHTS)} bytes or more, at most {total} are allowed"):
        fetcher.fetch(site.url + ONNX)
    assert site.asked_for(ONNX) == []


def test_what_has_no_length_is_stopped_when_too_much_has_come(site: Site, fetcher: Fetcher) -> None:
    fetcher.settings["limits"] = Limits(100_000)
    site.put(ONNX, WEIGHTS, length=False, ranges=False)

    with pytest.raises(TooLarge):
        fetcher.fetch(site.url + ONNX)

    assert (fetcher.entries(), fetcher.left_over()) == ([], [])


def test_what_grows_when_it_is_unpacked_is_stopped_when_too_much_has_come(site: Site, fetcher: Fetcher) -> None:
    fetcher.settings["limits"] = Limits(100_000)
    site.put(ONNX, bytes(50_000_000), coding="gzip")
    assert len(gzip.compress(bytes(50_000_000))) < 100_000

    with pytest.raises(TooLarge):
        fetcher.fetch(site.url + ONNX)


def test_an_empty_file_is_no_model(site: Site, fetcher: Fetcher) -> None:
    site.put(ONNX, b"")

    with pytest.raises(SourceFailed, match="is empty; deliver the model again"):
        fetcher.fetch(site.url + ONNX)


def test_a_folder_without_a_model_says_what_it_was_asked_for(site: Site, fetcher: Fetcher) -> None:
    with pytest.raises(SourceFailed, match=r"has none of inference.yml, .* \(it answers \[404\]\)"):
        fetcher.fetch(f"{site.url}/nothing/")


def test_a_folder_with_half_a_model_publishes_nothing(site: Site, fetcher: Fetcher) -> None:
    site.put("/m/inference.yml", b"Global: {}")

    with pytest.raises(SourceFailed, match=r"missing: \['inference.onnx'\]"):
        fetcher.fetch(f"{site.url}/m/")

    assert fetcher.entries() == []


def test_an_address_that_names_no_kind_of_model_is_refused(site: Site, fetcher: Fetcher) -> None:
    with pytest.raises(Refused, match=r"must end in .onnx"):
        fetcher.fetch(f"{site.url}/model.zip")


def test_progress_is_told_up_to_the_last_byte(site: Site, fetcher: Fetcher) -> None:
    fetcher.clock.step = 0.6
    site.put(ONNX, WEIGHTS)

    fetcher.fetch(site.url + ONNX)

    done = [progress.done_bytes for progress in fetcher.progress]
    assert done == sorted(done)
    assert (done[-1], fetcher.progress[-1].total_bytes) == (len(WEIGHTS), len(WEIGHTS))
    assert len(done) > 2
