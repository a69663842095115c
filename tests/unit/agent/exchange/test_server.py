"""Who is let in, and how much of anything: the real server on loopback, in raw HTTP where no client would."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

from hpi_agent.exchange.limits import DEFAULT_LIMITS
from hpi_agent.exchange.reports import MAX_JSON_BYTES, Asked, SelfTestReport, WorkloadReport, resolution_name
from hpi_core.digest import digest_of_bytes
from hpi_core.errors import Refused
from support.agent_requests import KEY, a_connection, answer_of, ask, listing
from support.played_agent import NODE, PlayedAgent, an_agent, an_identity


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[PlayedAgent]:
    with an_agent(tmp_path) as running:
        yield running


def a_report() -> WorkloadReport:
    return WorkloadReport.model_validate({"pipeline": "ocr", "revision": "5d8c7b9f4a", "engineActive": "Measured"})


def an_asked(key: str = f"sha256:{KEY}") -> Asked:
    digest = "sha256:" + "0" * 64
    gate = {"level": "Auto", "minimumSamples": 20}
    return Asked.model_validate(
        {"key": key, "modelName": "tiny", "modelDigest": digest, "modelFormat": "ONNX", "accuracy": gate}
    )


def test_only_healthz_is_open(agent: PlayedAgent) -> None:
    healthz = urllib3.request("GET", f"{agent.url}/healthz")
    other = urllib3.request("GET", f"{agent.url}/v1/engines/{KEY}")

    assert (healthz.status, healthz.data) == (200, b"ok")
    assert (other.status, other.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic abc", "Bearer nobody's", "Bearer " + "x" * 16_385],
    ids=["none", "no token", "blank", "another scheme", "unknown", "too long"],
)
def test_whoever_has_no_token_of_a_pod_is_nobody(agent: PlayedAgent, authorization: str) -> None:
    answer = urllib3.request("GET", f"{agent.url}/v1/engines/{KEY}", headers={"Authorization": authorization})

    assert answer.status == 401


def test_a_token_for_another_audience_is_refused(agent: PlayedAgent) -> None:
    token = agent.token_of("team-a")
    agent.identify.audiences[token] = "https://kubernetes.default.svc"

    assert ask(agent, "GET", f"/v1/engines/{KEY}", token=token).status == 401


def test_a_token_of_a_pod_on_another_node_is_refused(agent: PlayedAgent) -> None:
    token = agent.token_of("team-a", node="node-2")

    answer = ask(agent, "GET", f"/v1/engines/{KEY}", token=token)

    assert answer.status == 401
    assert f"this is the agent of {NODE}" in answer.json()["error"]


def test_while_the_api_server_is_away_a_pod_is_told_to_come_back(agent: PlayedAgent) -> None:
    agent.identify.away = True

    answer = ask(agent, "GET", f"/v1/engines/{KEY}")

    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


def test_a_report_is_the_pods_own_whatever_it_says(agent: PlayedAgent) -> None:
    agent.client("team-a").report(a_report())

    assert agent.reports.taken == [(an_identity("team-a"), a_report())]


def test_a_pod_that_ends_is_forgotten(agent: PlayedAgent) -> None:
    agent.client("team-a").leave()

    assert agent.reports.left == [an_identity("team-a").pod_uid]


def test_a_self_test_is_taken_from_its_pod_alone(agent: PlayedAgent) -> None:
    told = {"runtime": "hpi-cpu", "lockDigest": "sha256:" + "0" * 64, "passed": True, "backends": ["openvino"]}
    report = SelfTestReport.model_validate(told)

    agent.client("hpi-system", "self-test-hpi-cpu").self_tested(report)
    with pytest.raises(Refused, match=r"403.*is no self-test of this node"):
        agent.client("team-a").self_tested(report)

    assert [who.pod for who, _ in agent.reports.self_tests] == ["self-test-hpi-cpu"]


def test_a_resolution_has_the_name_of_its_key(agent: PlayedAgent) -> None:
    path, body = "/v1/resolutions/e-{}/acquire", an_asked().model_dump_json(by_alias=True, exclude_none=True).encode()

    right = ask(agent, "POST", f"/v1/resolutions/{resolution_name(an_asked().key)}/acquire", body)
    wrong = ask(agent, "POST", path.format("0" * 40), body)
    none = ask(agent, "POST", path.format("x"), body)

    assert (right.status, wrong.status, none.status) == (200, 422, 422)


@pytest.mark.parametrize("size", [MAX_JSON_BYTES, MAX_JSON_BYTES + 1])
def test_a_body_may_have_256_kib_and_not_a_byte_more(agent: PlayedAgent, size: int) -> None:
    body = listing(a_bin=b"x")
    padded = body + b" " * (size - len(body))

    status = ask(agent, "PUT", f"/v1/engines/{KEY}", padded).status

    # 422: it was read, and the blob did not come yet.
    assert status == (422 if size == MAX_JSON_BYTES else 413)


def test_a_body_in_pieces_without_a_length_is_bounded_as_well(agent: PlayedAgent) -> None:
    head = (
        f"PUT /v1/engines/{KEY} HTTP/1.1\r\nHost: agent\r\nAuthorization: Bearer {agent.token_of('team-a')}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    piece = b"%x\r\n%s\r\n" % (MAX_JSON_BYTES + 1, b" " * (MAX_JSON_BYTES + 1))

    with a_connection(agent, head.encode() + piece) as connection:
        answer = connection.recv(64)

    assert answer.startswith(b"HTTP/1.1 413")


def test_what_does_not_say_what_it_must_is_refused_with_every_problem(agent: PlayedAgent) -> None:
    answer = ask(agent, "POST", "/v1/workload", b'{"pipeline": "OCR", "revision": 1, "more": true}')

    assert answer.status == 400
    assert all(word in answer.json()["error"] for word in ("pipeline", "revision", "engineActive", "more"))


@pytest.mark.parametrize("name", ["../x", "a/b", "manifest.json", "manifest.paths.json", ".hidden", "", "x" * 201])
def test_no_file_of_an_entry_can_have_a_name_that_leads_out_or_is_the_stores_own(agent: PlayedAgent, name: str) -> None:
    body = json.dumps({"files": {name: {"digest": digest_of_bytes([b"x"]), "bytes": 1}}}).encode()

    assert ask(agent, "PUT", f"/v1/engines/{KEY}", body).status == 400


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_a_head_that_does_not_come_is_not_waited_for(tmp_path: Path, sent: bytes) -> None:
    with an_agent(tmp_path, limits=replace(DEFAULT_LIMITS, head_seconds=0.2)) as agent, a_connection(agent) as one:
        one.sendall(sent)

        assert one.recv(64) == b""


def test_the_head_of_a_second_request_is_not_waited_for_either_and_a_pause_between_two_is_no_head(
    tmp_path: Path,
) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    with an_agent(tmp_path, limits=replace(DEFAULT_LIMITS, head_seconds=0.2)) as agent, a_connection(agent) as one:
        one.sendall(request)
        assert answer_of(one).endswith(b"ok")
        # Longer than a head may take: nothing of the next request has come.
        time.sleep(0.5)
        one.sendall(request)
        assert answer_of(one).endswith(b"ok")
        one.sendall(request[:-4])

        assert one.recv(64) == b""


def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    with an_agent(tmp_path, limits=replace(DEFAULT_LIMITS, connections=2)) as agent, contextlib.ExitStack() as stack:
        request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        answers = []
        for _ in range(3):
            connection = stack.enter_context(a_connection(agent, request))
            answers.append(connection.recv(12))

    assert answers == [b"HTTP/1.1 200", b"HTTP/1.1 200", b"HTTP/1.1 503"]


@pytest.mark.parametrize(
    "value",
    ["NaN", "-Infinity", '"\\ud800"', "[" * 900 + "]" * 900, "[" * 100_000],
    ids=["NaN", "infinity", "half a surrogate pair", "deep", "deeper than any parser goes"],
)
def test_json_that_has_no_digest_is_refused_wherever_it_stands(agent: PlayedAgent, value: str) -> None:
    digest, gate = "sha256:" + "0" * 64, '{"level": "Auto", "minimumSamples": 20}'
    asked = f'"key": "{digest}", "modelName": "m", "modelDigest": "{digest}", "modelFormat": "ONNX", "accuracy": {gate}'
    bodies = {
        f"/v1/engines/{KEY}": f'{{"about": {{"a": {value}}}, "files": {{"a": {{"digest": "{digest}", "bytes": 0}}}}}}',
        f"/v1/decisions/{KEY}": f'{{"formatVersion": 1, "resolution": {{"a": {value}}}}}',
    }

    statuses = [ask(agent, "PUT", path, body.encode()).status for path, body in bodies.items()]
    request = f'{{{asked}, "request": {{"a": {value}}}}}'.encode()
    statuses.append(ask(agent, "POST", f"/v1/resolutions/{resolution_name(digest)}/acquire", request).status)

    assert statuses == [400, 400, 400]
