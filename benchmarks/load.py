"""Generates load: a few persistent connections, each of which sends the next request as soon as it
has the answer.

It shares the machine with the server, so it does as little as possible.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from typing import Any, Awaitable, Callable, Iterator, Mapping, Optional, Union

import attr

CONCURRENCY = 8
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@attr.frozen
class Connection:
    """A persistent connection. ``addresses`` yields the client address of each request."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    addresses: Iterator[str]

    async def ask(
        self,
        method: str,
        path: str,
        body: Union[Mapping[str, Any], bytes, None] = None,
        token: Optional[str] = None,
        expect: int = 200,
    ) -> bytes:
        """The body of the answer. ``body`` is sent as JSON, or as a form if it is bytes. Raises
        AssertionError if the status is not the expected one."""
        content, kind = b"", "json"
        if isinstance(body, bytes):
            content, kind = body, "x-www-form-urlencoded"
        elif body is not None:
            content = json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: benchmark/1\r\n"
            f"Accept: application/json\r\nX-Forwarded-For: {next(self.addresses)}\r\n"
        )
        if token is not None:
            head += f"Authorization: Bearer {token}\r\n"
        if body is not None:
            head += f"Content-Type: application/{kind}\r\nContent-Length: {len(content)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + content)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(answer)
        if length is None:
            content = await self._chunks()
        else:
            content = await self.reader.readexactly(int(length[1]))
        status = int(answer[9:12])
        assert status == expect, f"{method} {path}: {status} {content!r}"
        return content

    async def _chunks(self) -> bytes:
        """A chunked body, as a Synapse sends it."""
        content = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            content += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return content


Operation = Callable[[Connection, int], Awaitable[object]]


@attr.frozen
class Load:
    """Many clients of one server, each with its own address."""

    port: int
    numbers: Iterator[int] = attr.field(factory=itertools.count)

    async def connect(self) -> list[Connection]:
        addresses = (
            f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            for number in itertools.count(1)
        )
        pairs = [await asyncio.open_connection("127.0.0.1", self.port) for _ in range(CONCURRENCY)]
        return [Connection(reader, writer, addresses) for reader, writer in pairs]

    async def run(self, connections: list[Connection], operation: Operation, count: int) -> None:
        """Run the operation ``count`` times. No number is used twice, even by later calls."""
        numbers = iter(list(itertools.islice(self.numbers, count)))

        async def work(connection: Connection) -> None:
            for number in numbers:
                await operation(connection, number)

        await asyncio.gather(*map(work, connections))


async def close(connections: list[Connection]) -> None:
    for connection in connections:
        connection.writer.close()
        await connection.writer.wait_closed()
