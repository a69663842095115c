"""Engines between a pod's store and its node's cache, over real HTTP on loopback and with real folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.exchange.client import AgentClient
from hpi_agent.exchange.connection import AgentAway
from hpi_agent.exchange.listing import KINDS
from hpi_agent.exchange.pull import pull_decision, pull_entry
from hpi_agent.exchange.push import deliver, push_entry
from hpi_agent.store.directory import Store
from hpi_core.digest import digest_of_json
from support.faulty_proxy import FaultyProxy, faulty_proxy
from support.played_agent import PlayedAgent, a_client, an_agent
from support.shared_engines import BUILT, a_decision, built_bytes, decide, publish_engine


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[PlayedAgent]:
    with an_agent(tmp_path / "node") as running:
        yield running


@pytest.fixture
def proxy(agent: PlayedAgent) -> Iterator[FaultyProxy]:
    with faulty_proxy(agent.url) as between:
        yield between


def through(proxy: FaultyProxy, agent: PlayedAgent, namespace: str = "team-a") -> AgentClient:
    return a_client(proxy.url, agent.folder, agent.token_of(namespace, "ocr-2"))


def left_in_tmp(store: Store) -> list[str]:
    folder = store.root / "tmp"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_what_one_pod_built_another_pod_of_the_namespace_has_without_building(
    agent: PlayedAgent, tmp_path: Path
) -> None:
    made = decide(tmp_path / "one")
    other = Store(tmp_path / "two")

    sent = deliver(agent.client(), made.store, made.key)
    pulled = pull_decision(agent.client(pod="ocr-2"), other, made.key)

    assert sent == "Sent"
    assert pulled == made.decision
    assert other.read_decision(made.key) == made.decision.to_json()
    assert built_bytes(other, made.engine) == BUILT
    assert left_in_tmp(agent.exchange.store) == []


def test_what_is_there_is_not_sent_again(agent: PlayedAgent, tmp_path: Path) -> None:
    made = decide(tmp_path / "one")
    deliver(agent.client(), made.store, made.key)

    again = deliver(agent.client(pod="ocr-2"), made.store, made.key)

    assert again == "Known"


def test_a_key_of_another_namespace_is_answered_like_one_that_does_not_exist(
    agent: PlayedAgent, tmp_path: Path
) -> None:
    import urllib3

    made = decide(tmp_path / "one")
    deliver(agent.client("team-a"), made.store, made.key)
    headers = {"Authorization": f"Bearer {agent.token_of('team-b')}"}
    listing = agent.client("team-a").listing("engines", made.engine)
    assert listing is not None
    blob = next(iter(listing.blobs)).removeprefix("sha256:")
    missing, engine, key = "0" * 64, made.engine.removeprefix("sha256:"), made.key.removeprefix("sha256:")

    def ask(path: str) -> tuple[int, bytes, dict[str, str]]:
        answer = urllib3.request("GET", agent.url + path, headers=headers)
        told = {name: value for name, value in answer.headers.items() if name.lower() != "date"}
        return answer.status, answer.data, told

    theirs = [
        ask(path) for path in (f"/v1/engines/{engine}", f"/v1/engines/{engine}/blobs/{blob}", f"/v1/decisions/{key}")
    ]
    nobodys = [
        ask(path)
        for path in (f"/v1/engines/{missing}", f"/v1/engines/{missing}/blobs/{blob}", f"/v1/decisions/{missing}")
    ]

    assert theirs == nobodys
    assert {status for status, _, _ in theirs} == {404}
    assert pull_decision(agent.client("team-b"), Store(tmp_path / "two"), made.key) is None


def test_the_same_key_of_two_namespaces_is_two_engines(agent: PlayedAgent, tmp_path: Path) -> None:
    ours, theirs = decide(tmp_path / "one"), decide(tmp_path / "two", built=b"theirs" * 100)
    deliver(agent.client("team-a"), ours.store, ours.key)
    deliver(agent.client("team-b"), theirs.store, theirs.key)
    stores = {name: Store(tmp_path / f"new-{name}") for name in ("team-a", "team-b")}

    for name, store in stores.items():
        pull_decision(agent.client(name, "ocr-2"), store, ours.key)

    assert {name: built_bytes(store, ours.engine) for name, store in stores.items()} == {
        "team-a": BUILT,
        "team-b": b"theirs" * 100,
    }


def test_where_the_pool_shares_every_namespace_has_what_one_built(tmp_path: Path) -> None:
    made = decide(tmp_path / "one")
    with an_agent(tmp_path / "node", shares=lambda who: None) as agent:
        deliver(agent.client("team-a"), made.store, made.key)

        pulled = pull_decision(agent.client("team-b"), Store(tmp_path / "two"), made.key)

    assert pulled == made.decision


def test_a_namespace_cannot_be_named_like_the_whole_pool(tmp_path: Path) -> None:
    made = decide(tmp_path / "one")
    with an_agent(tmp_path / "node", shares=lambda who: None) as agent:
        deliver(agent.client("team-a"), made.store, made.key)
    with an_agent(tmp_path / "node") as agent:
        found = [agent.client(name).decision(made.key) for name in ("None", "cluster", "pool", "team-a")]

    assert found == [None] * 4


def test_a_bit_that_was_flipped_on_the_way_is_refused_and_fetched_again(
    agent: PlayedAgent, proxy: FaultyProxy, tmp_path: Path
) -> None:
    made, other = decide(tmp_path / "one"), Store(tmp_path / "two")
    deliver(agent.client(), made.store, made.key)
    proxy.damage("/blobs/", times=1)

    pulled = pull_decision(through(proxy, agent), other, made.key)

    assert pulled == made.decision
    assert built_bytes(other, made.engine) == BUILT


def test_bits_that_are_always_flipped_leave_nothing_to_be_loaded(
    agent: PlayedAgent, proxy: FaultyProxy, tmp_path: Path
) -> None:
    made, other = decide(tmp_path / "one"), Store(tmp_path / "two")
    deliver(agent.client(), made.store, made.key)
    proxy.damage("/blobs/")

    with pytest.raises(Exception, match="3 times, each time with another digest"):
        pull_decision(through(proxy, agent), other, made.key)

    assert other.entries() == []
    assert other.read_decision(made.key) is None
    assert left_in_tmp(other) == []


def test_a_cut_costs_what_had_not_come(agent: PlayedAgent, proxy: FaultyProxy, tmp_path: Path) -> None:
    made, other = decide(tmp_path / "one"), Store(tmp_path / "two")
    deliver(agent.client(), made.store, made.key)
    proxy.cut("/blobs/", after_bytes=700_000, times=2)

    pull_decision(through(proxy, agent), other, made.key)

    ranges = [request.headers.get("range") for request in proxy.server.requests if "/blobs/" in request.target]
    assert built_bytes(other, made.engine) == BUILT
    assert "bytes=700000-" in ranges


def test_the_first_complete_one_stays_and_the_second_is_told_its_digest(agent: PlayedAgent, tmp_path: Path) -> None:
    one, two = decide(tmp_path / "one"), decide(tmp_path / "two", built=b"another build" * 1_000)
    push_entry(agent.client(), one.store, "engines", one.engine)
    listing = agent.client().listing("engines", one.engine)
    assert listing is not None

    second = deliver(agent.client(pod="ocr-2"), two.store, two.key)
    third = Store(tmp_path / "three")
    pull_decision(agent.client(pod="ocr-3"), third, two.key)

    # The decision names the key alone: what lies there is what came first.
    assert second == "Sent"
    assert built_bytes(third, one.engine) == BUILT


def test_a_decision_that_came_second_is_not_taken(agent: PlayedAgent, tmp_path: Path) -> None:
    one = decide(tmp_path / "one")
    deliver(agent.client(), one.store, one.key)
    store = Store(tmp_path / "two")
    publish_engine(store, "other")
    chosen = a_decision("other").outcomes
    second = a_decision("tiny", outcomes=chosen)
    store.write_decision(second.key, second.to_json())

    delivered = deliver(agent.client(pod="ocr-2"), store, second.key)

    assert second.key == one.key
    assert delivered == "Other"
    assert agent.client().decision(one.key) == one.decision.to_json()


def test_a_decision_for_one_more_driver_replaces_the_one_before(agent: PlayedAgent, tmp_path: Path) -> None:
    one = decide(tmp_path / "one", verified_on_drivers=("550.1",))
    deliver(agent.client(), one.store, one.key)
    two = decide(tmp_path / "two", verified_on_drivers=("550.1", "550.2"))

    deliver(agent.client(), two.store, two.key)

    assert agent.client().decision(one.key) == two.decision.to_json()


@pytest.mark.parametrize(
    "fields", [{"provisional": "others kept the cores busy"}, {"outcomes": ()}], ids=["provisional", "chose nothing"]
)
def test_what_nobody_else_may_use_is_not_sent(agent: PlayedAgent, tmp_path: Path, fields: dict[str, Any]) -> None:
    made = decide(tmp_path / "one", **fields)

    assert deliver(agent.client(), made.store, made.key) == "Private"
    assert agent.exchange.store.entries() == []


def test_a_decision_without_its_engine_is_refused(agent: PlayedAgent, tmp_path: Path) -> None:
    made = decide(tmp_path / "one")

    with pytest.raises(Exception, match="is not in the cache; send it first"):
        agent.client().keep_decision(made.key, made.decision.to_json())


def test_a_decision_whose_engine_was_collected_is_told_to_nobody(agent: PlayedAgent, tmp_path: Path) -> None:
    made = decide(tmp_path / "one")
    deliver(agent.client(), made.store, made.key)

    agent.exchange.store.collect(0)

    assert agent.client().decision(made.key) is None
    assert deliver(agent.client(), made.store, made.key) == "Sent"


def test_an_engine_whose_document_has_another_digest_than_its_key_is_not_taken(
    agent: PlayedAgent, tmp_path: Path
) -> None:
    store, key = Store(tmp_path / "one"), "sha256:" + "12" * 32
    store.publish("engines", key, lambda folder: (folder / "engine.bin").touch(), about={})
    push_entry(agent.client(), store, "engines", key)

    taken = pull_entry(agent.client(), Store(tmp_path / "two"), "engines", key)

    assert taken is False


def test_an_engine_that_is_damaged_on_the_nodes_disk_is_never_whole_at_a_pod(
    agent: PlayedAgent, tmp_path: Path
) -> None:
    made = decide(tmp_path / "one")
    deliver(agent.client(), made.store, made.key)
    [entry] = [one for one in agent.exchange.store.entries() if one.kind == "engines"]
    file = agent.exchange.store.root / "engines" / entry.key.removeprefix("sha256:") / "engine.bin"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    other = Store(tmp_path / "two")

    assert pull_decision(agent.client(pod="ocr-2"), other, made.key) is None

    assert other.entries() == []
    assert [one.kind for one in agent.exchange.store.quarantined()] == ["quarantine"]
    # And it is sent anew by whoever has it.
    assert deliver(agent.client(), made.store, made.key) == "Sent"


def test_an_agent_that_is_away_is_said_at_once(tmp_path: Path) -> None:
    client = a_client("http://127.0.0.1:1", tmp_path, "token")

    with pytest.raises(AgentAway, match="does not answer"):
        client.decision("sha256:" + "0" * 64)


def test_the_token_is_read_anew_for_each_request(agent: PlayedAgent) -> None:
    client = agent.client()
    client.decision("sha256:" + "0" * 64)
    new = agent.token_of("team-a", "ocr-1-rotated")
    agent.identify.pods.pop(agent.token_of("team-a"))

    client.address.token_file.write_text(new, encoding="ascii")

    assert client.decision("sha256:" + "0" * 64) is None
    assert json.loads(json.dumps(agent.identify.asked)) == 2


@pytest.mark.parametrize("kind", ["converted", "models"])
def test_converted_models_and_models_travel_as_engines_do(agent: PlayedAgent, tmp_path: Path, kind: str) -> None:
    one, two, key = Store(tmp_path / "one"), Store(tmp_path / "two"), "sha256:" + "34" * 32
    one.publish(KINDS[kind], key, lambda folder: (folder / "inference.onnx").touch(), about={"model": "m"})

    push_entry(agent.client(), one, kind, key)

    assert pull_entry(agent.client("team-b"), two, kind, key) is False
    assert pull_entry(agent.client(pod="ocr-2"), two, kind, key) is True
    assert two.verify(KINDS[kind], key) is None
    assert [entry.about for entry in two.entries()] == [{"model": "m"}]


def test_a_decision_for_a_converted_model_brings_the_converted_model(agent: PlayedAgent, tmp_path: Path) -> None:
    conversion = {"converter": "paddle2onnx", "model": "sha256:1"}
    converted, others = digest_of_json(conversion), {"model": "tiny", "conversion": conversion}
    made = decide(tmp_path / "one", resolution=others)
    made.store.publish("converted", converted, lambda folder: (folder / "inference.onnx").touch())
    deliver(agent.client(), made.store, made.key)
    whole, half = Store(tmp_path / "two"), Store(tmp_path / "three")

    pulled = pull_decision(agent.client(pod="ocr-2"), whole, made.key)
    [entry] = [one for one in agent.exchange.store.entries() if one.kind == "converted"]
    shutil.rmtree(agent.exchange.store.root / "converted" / entry.key.removeprefix("sha256:"))
    without = pull_decision(agent.client(pod="ocr-3"), half, made.key)

    assert pulled == made.decision
    assert sorted(one.kind for one in whole.entries()) == ["converted", "engines"]
    # The engine alone is of no use where the model it is made of is not there.
    assert without is None
    assert half.read_decision(made.key) is None
