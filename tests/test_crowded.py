"""Greedy clients do not keep other clients from being served: endless requests on a few
connections, and endless connections (threat A26, A27)."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.crowd import Caller
from tests.support.patience import until
from tests.support.service_process import ServiceProcess, sqlite, write_config

V3 = "/_matrix/client/v3"
VERSIONS = "/_matrix/client/versions"
# One that is answered in the turn in which it arrives, a page, and one that asks the database.
PATHS = (
    VERSIONS,
    "/_matrix/static/client/register/",
    f"{V3}/register/available?username=free",
)
# Threat A26 has forty connections of 1,500 requests, and a limit for the slowest of a hundred.
CLIENTS, PIPELINED = 12, 500
STRANGERS = 10
SLOWEST_S = 0.25
# A test machine may be loaded for a moment.
TRIES = 4
DESCRIPTORS, DRIPPERS = 256, 400
DRIPPING_S = 2.0
# So many connect at a time: a client that finds the queue full retries a second later.
CONNECTING = 20
# regsys serve, as a process with so few descriptors.
FEW = (
    "import resource, runpy, sys; sys.argv[:1] = ['regsys', 'serve'];"
    f" resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS // 4}, {DESCRIPTORS}));"
    " runpy.run_module('regsys', run_name='__main__')"
)


class CrowdedCase(SynchronousTestCase):
    def begin(self, **more: Any) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        # Loopback addresses count as proxies of many clients: the bound of all connections applies.
        self.service = ServiceProcess(self, write_config(folder, sqlite(folder)), **more)
        host, _, port = self.service.base_url.rpartition("/")[2].partition(":")
        self.address = (host, int(port))

    def connect(self, sends: bytes) -> socket.socket:
        connection = socket.create_connection(self.address)
        self.addCleanup(connection.close)
        connection.sendall(sends)
        return connection

    def answer_s(self) -> float:
        """How long a new client waits for an answer."""
        started_s = time.monotonic()
        caller = Caller(self.service.base_url)
        try:
            self.assertEqual(caller.ask("GET", VERSIONS).status, 200)
        finally:
            caller.close()
        return time.monotonic() - started_s


class PipeliningTests(CrowdedCase):
    def test_strangers(self) -> None:
        """While a dozen clients send five hundred requests each without reading an answer, other
        clients are answered soon, whatever they ask for."""
        self.begin()
        self.answer_s()
        for path in PATHS:
            request = f"GET {path} HTTP/1.1\r\nHost: test.example\r\n\r\n".encode()
            slowest: list[float] = []
            while len(slowest) < TRIES and not (slowest and slowest[-1] < SLOWEST_S):
                crowd = [self.connect(request * PIPELINED) for _ in range(CLIENTS)]
                slowest.append(max(self.answer_s() for _ in range(STRANGERS)))
                for connection in crowd:
                    connection.close()
            self.assertLess(slowest[-1], SLOWEST_S, f"{path} {slowest}")


class DrippingTests(CrowdedCase):
    def open_connection(self, byte: bytes) -> socket.socket:
        """A new connection, which may be closed at once."""
        connection = self.connect(b"")
        with contextlib.suppress(OSError):
            connection.sendall(byte)
        return connection

    def drip(self, dripper: socket.socket, byte: bytes) -> socket.socket:
        """The same connection, or a new one if it was closed."""
        try:
            dripper.sendall(byte)
        except OSError:
            return self.open_connection(b"P")
        return dripper

    def test_stranger(self) -> None:
        """With few descriptors, while four hundred clients send a byte now and then, another client
        is served within two seconds, from the beginning and throughout."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.begin(program=("-c", FEW))
        head = b"POST /_matrix/client/v3/register HTTP/1.1\r\n"
        threads = ThreadPoolExecutor(CONNECTING)
        self.addCleanup(threads.shutdown)
        drippers = list(threads.map(self.open_connection, [head[:1]] * DRIPPERS))
        for number in range(1, 4):
            self.assertLess(self.answer_s(), DRIPPING_S)
            byte = head[number : number + 1]
            drippers = list(threads.map(self.drip, drippers, [byte] * DRIPPERS))
        open_ = len(os.listdir(f"/proc/{self.service.process.pid}/fd"))
        self.assertGreater(open_, DESCRIPTORS // 4, "the limit was not raised")
        self.assertIn("at most 128 connections at a time, 16 of one address", self.service.output)
        self.assertIn("all 128 connections are taken", self.service.output)
        self.assertNotIn("EMFILE", self.service.output)
        for dripper in drippers:
            dripper.close()
        self.assertLess(self.answer_s(), DRIPPING_S)
        until(lambda: len(os.listdir(f"/proc/{self.service.process.pid}/fd")) < 40, str)
