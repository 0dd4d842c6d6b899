"""For tests, ours and an embedder's: contract suites, verified fakes, a subsystem in memory.

The suites are in ``regsys.testing.contracts``; docs/embedding.md shows how to run them.
"""

from regsys.testing import contracts
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
from regsys.testing.system import config, memory_process, standalone

__all__ = [
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
    "memory_process",
    "provides",
    "standalone",
]
