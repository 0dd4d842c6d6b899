"""The hooks of modules (contract B10): ``base`` calls them, the others define them."""

from regsys.callbacks.base import DEADLINE_MS
from regsys.callbacks.registration import SpamChecks, ThreepidRules
from regsys.callbacks.threepids import BindingChanges, ThreepidChanges

__all__ = ["DEADLINE_MS", "BindingChanges", "SpamChecks", "ThreepidChanges", "ThreepidRules"]
