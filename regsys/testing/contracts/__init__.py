"""What each seam promises, as tests: one suite an interface, to be run against yours.

    class MyStoreTests(AccountStoreContract, twisted.trial.unittest.TestCase):
        def make(self):
            return MyStore(...)

A homeserver that brings its own parts wants AccountStoreContract, DevicesContract,
AuthContract, RoomsContract, PushersContract and UserDirectoryContract for what of these it
has, and WriterContract if it brings a writer of its own.
The other suites hold the stores that regsys has itself.
"""

from regsys.testing.contracts.accounts import AccountStoreContract
from regsys.testing.contracts.aftermath import PushersContract, UserDirectoryContract
from regsys.testing.contracts.bindings import BindingStoreContract, RequestSignerContract
from regsys.testing.contracts.case import Contract
from regsys.testing.contracts.consents import ConsentStoreContract
from regsys.testing.contracts.devices import AuthContract, DevicesContract
from regsys.testing.contracts.jobs import JobStoreContract
from regsys.testing.contracts.limits import LimiterContract
from regsys.testing.contracts.outcomes import ExpiringContract, OutcomeStoreContract
from regsys.testing.contracts.registration_tokens import RegistrationTokenStoreContract
from regsys.testing.contracts.rooms import RoomsContract
from regsys.testing.contracts.sessions import SessionStoreContract
from regsys.testing.contracts.threepids import ThreepidStoreContract
from regsys.testing.contracts.tokens import TokenStoreContract
from regsys.testing.contracts.validations import ValidationStoreContract
from regsys.testing.contracts.writer import WriterContract

__all__ = [
    "AccountStoreContract",
    "AuthContract",
    "BindingStoreContract",
    "ConsentStoreContract",
    "Contract",
    "DevicesContract",
    "ExpiringContract",
    "JobStoreContract",
    "LimiterContract",
    "OutcomeStoreContract",
    "PushersContract",
    "RegistrationTokenStoreContract",
    "RequestSignerContract",
    "RoomsContract",
    "SessionStoreContract",
    "ThreepidStoreContract",
    "TokenStoreContract",
    "UserDirectoryContract",
    "ValidationStoreContract",
    "WriterContract",
]
