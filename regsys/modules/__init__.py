"""Modules of others, loaded into this process (contract B10): ``loader`` makes them, ``api`` is
what each gets, ``registry`` says which callbacks there are, ``names`` has what they import.

``ThreepidChecker`` and ``PolicyWebhook`` are modules of ours, which a configuration names like any
other.
"""

from regsys.modules.names import install_names
from regsys.modules.policy_webhook import PolicyWebhook
from regsys.modules.threepid_checker import ThreepidChecker

__all__ = ["PolicyWebhook", "ThreepidChecker", "install_names"]
