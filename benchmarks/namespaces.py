"""What the check of a name costs among many namespaces of application services."""

from __future__ import annotations

import re

from benchmarks.measuring import cpu_ms
from regsys.appservices.namespaces import Appservices
from regsys.model import Appservice, Secret, UserID, UserNamespace

SERVER = "test.example"
# So many namespaces may cost a registration so much of its CPU time (docs/decisions.md).
COUNT = 100
MOST_PERCENT = 2.0


def added_ms(repeats: int) -> float:
    """How much CPU time COUNT namespaces add to the check of a name that none of them matches."""
    none, many = (_services(count) for count in (0, COUNT))
    name = UserID("alice", SERVER)
    return cpu_ms(lambda: many.reserved_for(name), repeats) - cpu_ms(
        lambda: none.reserved_for(name), repeats
    )


def _services(count: int) -> Appservices:
    """So many services with a namespace each."""
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
