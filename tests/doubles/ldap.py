"""An LDAP server (RFC 4511) with the few operations by which a module logs users in: bind, search
and unbind. ``python -m tests.doubles.ldap PORT`` serves it.
"""

from __future__ import annotations

import sys
from typing import Iterator, Mapping, Optional, Sequence

from twisted.internet.protocol import Factory, Protocol

from tests.doubles.process import DoubleProcess

BASE = "ou=people,dc=test,dc=example"
SEARCHER, SEARCHERS_PASSWORD = f"cn=searcher,{BASE}", "the searcher's password"
# Each user's password and attributes, by DN.
PASSWORD = "of the directory"
USERS: Mapping[str, Mapping[str, str]] = {
    f"uid={name},{BASE}": {
        "uid": name,
        "cn": f"{name.title()} Bates",
        "mail": f"{name}@mail.example",
    }
    for name in ("alice", "bob")
}
BIND, BIND_DONE, UNBIND = 0x60, 0x61, 0x42
SEARCH, ENTRY, SEARCH_DONE = 0x63, 0x64, 0x65
SEQUENCE, SET, INTEGER, TEXT, CHOICE, PASSWORD_TAG = 0x30, 0x31, 0x02, 0x04, 0x0A, 0x80
EQUALS = 0xA3
SUCCESS, INVALID_CREDENTIALS, INSUFFICIENT_RIGHTS = 0, 49, 50


def element(tag: int, *parts: bytes) -> bytes:
    """In BER."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def first(data: bytes) -> Optional[tuple[int, bytes, bytes]]:
    """The tag and content of the first element, and what follows it; None if it is not whole."""
    if len(data) < 2:
        return None
    size, start = data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        return None
    return data[0], data[start : start + size], data[start + size :]


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        found = first(data)
        assert found is not None
        tag, content, data = found
        yield tag, content


def _is_constructed(tag: int) -> bool:
    return bool(tag & 0x20)


def conditions(tag: int, content: bytes) -> Iterator[tuple[str, str]]:
    """The attributes of a filter that must have a value, in whatever AND and OR they stand."""
    if tag == EQUALS:
        (_, name), (_, value) = elements(content)
        yield name.decode().lower(), value.decode()
    elif _is_constructed(tag):
        for part in elements(content):
            yield from conditions(*part)


class Session(Protocol):
    """One connection. ``who``: the DN as which it is bound."""

    def __init__(self) -> None:
        self.received, self.who = b"", ""

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        while (found := first(self.received)) is not None:
            _, message, self.received = found
            (_, number), (kind, content), *_ = elements(message)
            self.handle(number, kind, content)

    def handle(self, number: bytes, kind: int, content: bytes) -> None:
        assert self.transport is not None
        if kind == UNBIND:
            self.transport.loseConnection()
            return
        answers = self.bind(content) if kind == BIND else self.search(content)
        for answer in answers:
            self.transport.write(element(SEQUENCE, element(INTEGER, number), answer))

    def bind(self, content: bytes) -> Sequence[bytes]:
        _, (_, name), (_, password) = elements(content)
        who, given = name.decode(), password.decode()
        passwords = {SEARCHER: SEARCHERS_PASSWORD, **dict.fromkeys(USERS, PASSWORD)}
        known = passwords.get(who) == given
        self.who = who if known else ""
        return [result(BIND_DONE, SUCCESS if known else INVALID_CREDENTIALS)]

    def search(self, content: bytes) -> Sequence[bytes]:
        if self.who != SEARCHER:
            return [result(SEARCH_DONE, INSUFFICIENT_RIGHTS)]
        parts = list(elements(content))
        wanted = dict(conditions(*parts[6]))
        found = [
            element(
                ENTRY,
                element(TEXT, name.encode()),
                element(SEQUENCE, *map(_attribute, user.items())),
            )
            for name, user in USERS.items()
            if wanted and wanted.items() <= user.items()
        ]
        return [*found, result(SEARCH_DONE, SUCCESS)]


def _attribute(item: tuple[str, str]) -> bytes:
    name, value = item
    return element(
        SEQUENCE, element(TEXT, name.encode()), element(SET, element(TEXT, value.encode()))
    )


def result(kind: int, code: int) -> bytes:
    return element(kind, element(CHOICE, bytes([code])), element(TEXT), element(TEXT))


class LDAPProcess(DoubleProcess):
    module = "tests.doubles.ldap"

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"


if __name__ == "__main__":
    from twisted.internet import reactor

    reactor.listenTCP(  # type: ignore[attr-defined]  # the one that is installed
        int(sys.argv[1]), Factory.forProtocol(Session), interface="127.0.0.1"
    )
    reactor.callWhenRunning(lambda: print("ready", flush=True))  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]
