"""For tests, ours and an embedder's: contract suites, verified fakes, a subsystem in memory, and
a client of it.

The suites are in ``regsys.testing.contracts``; docs/embedding.md shows how to run them.
"""

from regsys.testing import contracts
from regsys.testing.client import Client
from regsys.testing.fakes import (
    MemoryAccounts,
    MemoryActiveUsers,
    MemoryAppservices,
    MemoryAuth,
    MemoryDevices,
    MemoryDirectory,
    MemoryMails,
    MemoryPushers,
    MemoryThreepids,
)
from regsys.testing.provides import provides
from regsys.testing.rooms import MemoryRoom, MemoryRooms
from regsys.testing.system import config, embedded, memory_process, standalone

__all__ = [
    "Client",
    "MemoryAccounts",
    "MemoryActiveUsers",
    "MemoryAppservices",
    "MemoryAuth",
    "MemoryDevices",
    "MemoryDirectory",
    "MemoryMails",
    "MemoryPushers",
    "MemoryRoom",
    "MemoryRooms",
    "MemoryThreepids",
    "config",
    "contracts",
    "embedded",
    "memory_process",
    "provides",
    "standalone",
]
