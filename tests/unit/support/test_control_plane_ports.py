"""A reserved port: nobody gets it by chance, the program that it is for can bind it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from support.control_plane.ports import LOOPBACK, ReservedPort


@pytest.fixture
def port() -> Iterator[ReservedPort]:
    reserved = ReservedPort()
    yield reserved
    reserved.close()


def test_a_program_that_shares_ports_listens_on_it(port: ReservedPort) -> None:
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind((LOOPBACK, port.number))
        server.listen()

        client.connect((LOOPBACK, port.number))
        connection, address = server.accept()
        connection.close()

        assert address == client.getsockname()


def test_a_program_that_does_not_is_refused(port: ReservedPort) -> None:
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((LOOPBACK, port.number))


def test_nobody_answers_before_the_program_does(port: ReservedPort) -> None:
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect((LOOPBACK, port.number))


def test_a_port_is_free_again_after_it_was_given_back() -> None:
    reserved = ReservedPort()
    reserved.close()

    with socket.socket() as other:
        other.bind((LOOPBACK, reserved.number))
