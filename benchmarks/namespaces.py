"""The cost of a name check with many namespaces of application services."""

from __future__ import annotations

import re
from typing import Sequence

from benchmarks.measuring import cpu_ms
from regsys.appservices.namespaces import Appservices
from regsys.model import Appservice, Secret, UserID, UserNamespace

SERVER = "test.example"
COUNTS = (0, 10, 100, 1000, 5000)
PERSON = UserID("alice", SERVER)


def services(count: int) -> Appservices:
    """``count`` services, each with one namespace."""
    return Appservices.from_services(
        [
            Appservice(
                id=f"bridge{number}",
                as_token=Secret(f"token {number}"),
                sender_localpart=f"bridgebot{number}",
                users=(UserNamespace(re.compile(rf"@_bridge{number}_.*:{SERVER}"), True),),
            )
            for number in range(count)
        ],
        SERVER,
    )


def show_namespaces(repeats: int) -> None:
    print("\nCPU-µs to check a name   a person's   a ghost's   each regex tried")
    for count in COUNTS:
        made = services(count)
        person_us = 1000 * cpu_ms(lambda made=made: made.reserved_for(PERSON), repeats)
        ghost_us = 1000 * cpu_ms(lambda made=made: _ghost(made), repeats) if count else 0.0
        tried_us = 1000 * cpu_ms(lambda made=made: _try_each(made.services), max(1, repeats // 100))
        print(f"{count:6} namespaces {person_us:18.1f} {ghost_us:11.1f} {tried_us:18.1f}")


def _ghost(made: Appservices) -> None:
    """The checks of a service's registration."""
    service = made.by_token(made.services[0].as_token)
    assert service is not None
    name = UserID("_bridge0_alice", SERVER)
    assert made.may_use(service.id, name)
    for _ in range(2):
        assert made.reserved_for(name)


def _try_each(services: Sequence[Appservice]) -> None:
    for service in services:
        assert not service.users[0].regex.match(str(PERSON))
