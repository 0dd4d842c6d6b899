"""What each seam promises, as tests: one suite an interface, to be run against yours.

    class MyStoreTests(AccountStoreContract, twisted.trial.unittest.TestCase):
        def make(self):
            return MyStore(...)

A homeserver that brings its own parts wants AccountStoreContract, DevicesContract,
AuthContract, ThreepidStoreContract, RoomsContract, PushersContract, UserDirectoryContract,
MonthlyActiveUsersContract, RequestSignerContract and AppservicesContract for what of these it
has.
"""

from regsys.testing.contracts.accounts import AccountStoreContract
from regsys.testing.contracts.activity import MonthlyActiveUsersContract
from regsys.testing.contracts.appservices import AppservicesContract
from regsys.testing.contracts.case import Contract
from regsys.testing.contracts.devices import AuthContract, DevicesContract
from regsys.testing.contracts.post_registration import PushersContract, UserDirectoryContract
from regsys.testing.contracts.request_signer import RequestSignerContract
from regsys.testing.contracts.rooms import RoomsContract
from regsys.testing.contracts.threepids import ThreepidStoreContract

__all__ = [
    "AccountStoreContract",
    "AppservicesContract",
    "AuthContract",
    "Contract",
    "DevicesContract",
    "MonthlyActiveUsersContract",
    "PushersContract",
    "RequestSignerContract",
    "RoomsContract",
    "ThreepidStoreContract",
    "UserDirectoryContract",
]
