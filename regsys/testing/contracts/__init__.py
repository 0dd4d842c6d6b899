"""What each seam promises, as tests: one suite an interface, to be run against yours.

    class MyStoreTests(AccountStoreContract, twisted.trial.unittest.TestCase):
        def make(self):
            return MyStore(...)

A homeserver that brings its own parts wants AccountStoreContract, DevicesContract,
AuthContract, ThreepidStoreContract, RoomsContract, PushersContract, UserDirectoryContract,
MonthlyActiveUsersContract, RequestSignerContract and AppservicesContract for what of these it
has. The other suites hold what regsys has itself.
"""

from regsys.testing.contracts.account_data import AccountDataContract
from regsys.testing.contracts.accounts import AccountStoreContract
from regsys.testing.contracts.activity import MonthlyActiveUsersContract
from regsys.testing.contracts.appservices import AppservicesContract
from regsys.testing.contracts.bindings import BindingStoreContract
from regsys.testing.contracts.case import Contract
from regsys.testing.contracts.consents import ConsentStoreContract
from regsys.testing.contracts.devices import AuthContract, DevicesContract
from regsys.testing.contracts.jobs import JobStoreContract
from regsys.testing.contracts.limits import LimiterContract
from regsys.testing.contracts.outcomes import ExpiringContract, IdempotencyKeyStoreContract
from regsys.testing.contracts.post_registration import PushersContract, UserDirectoryContract
from regsys.testing.contracts.registration_tokens import RegistrationTokenStoreContract
from regsys.testing.contracts.request_signer import RequestSignerContract
from regsys.testing.contracts.rooms import RoomsContract
from regsys.testing.contracts.sessions import SessionStoreContract
from regsys.testing.contracts.threepids import ThreepidStoreContract
from regsys.testing.contracts.tokens import TokenStoreContract
from regsys.testing.contracts.validation_neighbours import ValidationNeighboursContract
from regsys.testing.contracts.validations import ValidationStoreContract
from regsys.testing.contracts.writer import WriterContract

__all__ = [
    "AccountDataContract",
    "AccountStoreContract",
    "AppservicesContract",
    "AuthContract",
    "BindingStoreContract",
    "ConsentStoreContract",
    "Contract",
    "DevicesContract",
    "ExpiringContract",
    "IdempotencyKeyStoreContract",
    "JobStoreContract",
    "LimiterContract",
    "MonthlyActiveUsersContract",
    "PushersContract",
    "RegistrationTokenStoreContract",
    "RequestSignerContract",
    "RoomsContract",
    "SessionStoreContract",
    "ThreepidStoreContract",
    "TokenStoreContract",
    "UserDirectoryContract",
    "ValidationNeighboursContract",
    "ValidationStoreContract",
    "WriterContract",
]
