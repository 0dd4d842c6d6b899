"""The callbacks of modules and embedders (contract B10): ``base`` calls them, the others define
them."""

from regsys.callbacks.base import DEADLINE_MS
from regsys.callbacks.logins import AccountCallbacks, LoginCallbacks
from regsys.callbacks.passwords import PasswordCallbacks
from regsys.callbacks.registration import NameCallbacks, SpamChecks, ThreepidRules
from regsys.callbacks.threepids import BindingChanges, ThreepidChanges

__all__ = [
    "DEADLINE_MS",
    "AccountCallbacks",
    "BindingChanges",
    "LoginCallbacks",
    "NameCallbacks",
    "PasswordCallbacks",
    "SpamChecks",
    "ThreepidChanges",
    "ThreepidRules",
]
