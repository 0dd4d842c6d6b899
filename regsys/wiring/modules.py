"""The callbacks that modules may register: ONE table of their names, with the list in which each is
kept. docs/modules.md says when each is called."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from regsys.callbacks.base import CallbackList
from regsys.config import Config
from regsys.metrics import Metrics
from regsys.modules.api import ApiParts, ModuleApi
from regsys.modules.loader import LoadedModule, load
from regsys.modules.registry import Callbacks, Registry
from regsys.wiring.subsystem import Hooks


def callbacks(hooks: Hooks) -> Mapping[str, Mapping[str, CallbackList[Any]]]:
    """The lists, by the API object's method that registers in them, and by the callback's name."""
    changes, bindings, logins = hooks.threepid_changes, hooks.binding_changes, hooks.logins
    lists: Mapping[str, tuple[CallbackList[Any], ...]] = {
        "register_spam_checker_callbacks": (
            hooks.spam,  # accounts/steps.py
            logins.checks,  # client_api/login.py
        ),
        "register_password_auth_provider_callbacks": (
            logins.passwords.types,  # client_api/credentials.py
            logins.passwords.threepids,  # the same
            hooks.threepids,  # threepids/addresses.py
            hooks.names.usernames,  # client_api/chosen_names.py
            hooks.names.display_names,  # the same
            logins.ended,  # storage/ended_logins.py, after the commit
        ),
        "register_account_validity_callbacks": (
            hooks.accounts.expiry,  # client_api/expired_accounts.py
            hooks.accounts.made,  # accounts/registration_notice.py, by a job
            logins.begun,  # accounts/writer.py
        ),
        "register_third_party_rules_callbacks": (
            changes.checks,  # accounts/steps.py, threepids/account.py
            changes.additions,  # threepids/changes.py, by a job
            changes.removals,  # the same
            changes.old_additions,  # the same
            bindings.checks,  # threepids/identity_server_bindings.py, …_unbinding.py
            bindings.updates,  # the same
        ),
    }
    return {method: {item.moment: item for item in found} for method, found in lists.items()}


def arrange(hooks: Hooks, config: Config, metrics: Metrics) -> None:
    """Give each callback, embedders' ones too, the configured deadline, and count its calls."""
    for lists in callbacks(hooks).values():
        for item in lists.values():
            item.arrange(config.modules.deadline_ms, metrics.callback_called)


def load_modules(
    config: Config, hooks: Hooks, parts: Callable[[Registry], ApiParts]
) -> tuple[LoadedModule, ...]:
    """The configured modules, with their callbacks registered. ``parts`` makes what their API
    objects have. Raises ConfigError, and ValueError for hooks in which the modules of another
    subsystem are registered."""
    if not config.modules.modules:
        return ()
    lists = callbacks(hooks)
    if any(item.has_modules for named in lists.values() for item in named.values()):
        raise ValueError(
            "hooks: the modules of another subsystem are registered here already, and would be"
            " called twice: make hooks of its own for each subsystem with regsys.hooks(…)"
        )
    registry: Mapping[str, Mapping[str, Callbacks]] = lists
    given = parts(Registry(registry))
    return load(config.modules, lambda module: ModuleApi(module, given))
