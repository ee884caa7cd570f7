"""The long line that measurements run over: what it delays, and that it changes nothing."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PROXY = Path(__file__).parents[2] / "scripts" / "delay-proxy"


@contextlib.contextmanager
def echo() -> Iterator[int]:
    """A server that sends back what it gets, until it gets no more."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while piece := connection.recv(1 << 16):
                connection.sendall(piece)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextlib.contextmanager
def line(port: int, *options: str) -> Iterator[tuple[str, int]]:
    process = subprocess.Popen(
        [sys.executable, str(PROXY), "--to", f"127.0.0.1:{port}", *options], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        host, _, listening = process.stdout.readline().strip().rpartition(":")
        yield host, int(listening)
    finally:
        process.kill()
        process.communicate(timeout=10)


def test_each_way_takes_its_time_and_the_first_bytes_a_round_trip_more() -> None:
    with echo() as port, line(port, "--delay", "50") as there, socket.create_connection(there, timeout=30) as client:
        for expected in (0.2, 0.1):
            began = time.monotonic()
            client.sendall(b"ping")
            assert client.recv(4) == b"ping"
            assert time.monotonic() - began >= expected - 0.005  # a busy machine takes longer, never less


def test_bytes_arrive_whole_and_in_order_at_the_rate_of_the_line() -> None:
    sent = random.Random(2026).randbytes(3 << 20)
    with echo() as port, line(port, "--delay", "1", "--rate", "8M") as there:
        began = time.monotonic()
        got = [b"", b""]

        def through(number: int) -> None:
            with socket.create_connection(there, timeout=30) as client:
                sender = threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR)))
                sender.start()
                got[number] = b"".join(iter(lambda: client.recv(1 << 16), b""))
                sender.join(30)

        both = [threading.Thread(target=through, args=(number,)) for number in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(60)
    assert got == [sent, sent]
    assert time.monotonic() - began >= 2 * len(sent) / 8e6  # they share the line


def test_an_end_that_goes_away_is_gone_for_the_other_too() -> None:
    with echo() as port, line(port) as there, socket.create_connection(there, timeout=30) as client:
        client.sendall(b"ping")
        assert client.recv(4) == b"ping"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    with (
        socket.create_server(("127.0.0.1", 0)) as closed,
        line(closed.getsockname()[1]) as there,
        socket.create_connection(there, timeout=30) as client,
    ):
        connection, _ = closed.accept()
        connection.close()
        assert client.recv(1) == b""
