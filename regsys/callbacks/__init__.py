"""The hooks of modules (contract B10): ``asking`` says how they are called, the others what."""

from regsys.callbacks.asking import DEADLINE_MS
from regsys.callbacks.changes import BindingChanges, ThreepidChanges
from regsys.callbacks.registration import SpamChecks, ThreepidRules

__all__ = ["DEADLINE_MS", "BindingChanges", "SpamChecks", "ThreepidChanges", "ThreepidRules"]
