"""What an embedder's parts must do, as tests: one suite for each interface.

    class MyStoreTests(AccountStoreContract, twisted.trial.unittest.TestCase):
        def make(self):
            return MyStore(...)

docs/embedding.md and docs/hooks.md have tables of the interfaces and their suites.
HomeserverContract is for what spans several of them. ``regsys.testing.contracts.case`` has what
makes the values that the suites use, for your own tests, too: ``user``, ``account``, ``upgrade``,
``device`` and ``login``. The helpers that a suite asks you for may be plain functions, coroutines,
or return Deferreds.
"""

from regsys.testing.contracts.accounts import AccountStoreContract
from regsys.testing.contracts.activity import MonthlyActiveUsersContract
from regsys.testing.contracts.appservices import AppservicesContract
from regsys.testing.contracts.blocking import BlockingContract
from regsys.testing.contracts.devices import AuthContract, DevicesContract
from regsys.testing.contracts.followers import FollowerContract
from regsys.testing.contracts.homeserver import HomeserverContract
from regsys.testing.contracts.homeserver_case import HomeserverParts
from regsys.testing.contracts.messages import SmsSenderContract, ValidationMailsContract
from regsys.testing.contracts.post_registration import PushersContract, UserDirectoryContract
from regsys.testing.contracts.request_signer import RequestSignerContract
from regsys.testing.contracts.rooms import RoomsContract
from regsys.testing.contracts.stages import StageContract
from regsys.testing.contracts.threepids import ThreepidStoreContract
from regsys.testing.contracts.user_lookup import UserLookupContract

__all__ = [
    "AccountStoreContract",
    "AppservicesContract",
    "AuthContract",
    "BlockingContract",
    "DevicesContract",
    "FollowerContract",
    "HomeserverContract",
    "HomeserverParts",
    "MonthlyActiveUsersContract",
    "PushersContract",
    "RequestSignerContract",
    "RoomsContract",
    "SmsSenderContract",
    "StageContract",
    "ThreepidStoreContract",
    "UserDirectoryContract",
    "UserLookupContract",
    "ValidationMailsContract",
]
