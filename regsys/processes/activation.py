"""Sockets that another program has bound for this one, by systemd's protocol of socket activation:
it says by LISTEN_PID whom they are for, and by LISTEN_FDS how many there are, from descriptor 3 on.

That program keeps them while this one restarts, and connections wait in them meanwhile.
"""

from __future__ import annotations

import os
import socket
from typing import Any, MutableMapping, Optional

import attr

FIRST = 3
_NAMES = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")


class CannotListen(Exception):
    """A listener has no socket, or a socket no listener; the text says which, and what to do."""


@attr.define
class Inherited:
    """Those that nobody has taken yet, by the names that LISTEN_FDNAMES gives them."""

    _sockets: list[tuple[str, socket.socket]] = attr.field(factory=list)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Inherited:
        """None of them if the variables are not there, or for another process. They are removed, so
        that no child takes them for its own: call it early, as Twisted removes them, too, when its
        endpoints are imported. CannotListen."""
        given = {name: environment.pop(name, "") for name in _NAMES}
        if given["LISTEN_PID"] != str(os.getpid()):
            return cls()
        names = given["LISTEN_FDNAMES"].split(":")
        found = cls()
        try:
            for place in range(int(given["LISTEN_FDS"])):
                name = names[place] if place < len(names) else ""
                found._sockets.append((name, _listening(FIRST + place)))
        except ValueError:
            raise CannotListen(f"LISTEN_FDS is no number: {given['LISTEN_FDS']!r}") from None
        return found

    def take(self, family: int, place: Any) -> Optional[socket.socket]:
        """The socket that is bound there, an address as ``getsockname`` has it; None if there is
        none."""
        for item in self._sockets:
            _, it = item
            if it.family == family and _same(family, it.getsockname(), place):
                self._sockets.remove(item)
                return it
        return None

    def check_all_taken(self) -> None:
        """CannotListen if there are others, which nobody would serve."""
        if not self._sockets:
            return
        left = ", ".join(_described(name, it) for name, it in self._sockets)
        raise CannotListen(
            f"systemd has bound {left} for regsys, but no listener has exactly this address: write"
            " the same address and port (or path) into listeners, and as ListenStream= into the"
            " .socket file"
        )

    def close(self) -> None:
        for _, it in self._sockets:
            it.close()


def _listening(number: int) -> socket.socket:
    try:
        # Programs that this one starts have no use for it.
        os.set_inheritable(number, False)
        found = socket.socket(fileno=number)
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise CannotListen(
            f"LISTEN_FDS counts descriptor {number}, which is no socket: {error.strerror}"
        ) from None
    if not listens or found.type != socket.SOCK_STREAM:
        found.close()
        raise CannotListen(
            f"descriptor {number} is no socket that listens: the .socket file must have"
            " ListenStream=, and Accept=no"
        )
    found.setblocking(False)
    return found


def _same(family: int, one: Any, other: Any) -> bool:
    if family == socket.AF_UNIX:
        return bool(os.path.realpath(one) == os.path.realpath(other))
    # Of IPv6 without the flow label, which means nothing here.
    return bool((*one[:2], *one[3:]) == (*other[:2], *other[3:]))


def _described(name: str, it: socket.socket) -> str:
    place = it.getsockname()
    text = place if it.family == socket.AF_UNIX else f"port {place[1]} of {place[0]}"
    return f"{text} ({name})" if name else str(text)
