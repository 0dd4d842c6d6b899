"""Which callbacks a module may register, and by which method of the API object."""

from __future__ import annotations

import difflib
from typing import Any, Mapping, Optional, Protocol

import attr
from twisted.logger import Logger

log = Logger()


class Callbacks(Protocol):
    """The list of the callbacks of one kind (``regsys.callbacks.base.CallbackList``)."""

    def register_of_module(self, module: str, hook: Any) -> None: ...


# The callbacks that homeservers have and a registration never reaches, by the method that registers
# them: modules that register them run here, without these.
UNUSED: Mapping[str, frozenset[str]] = {
    "register_spam_checker_callbacks": frozenset(
        """
        check_event_for_spam check_media_file_for_spam check_username_for_spam
        federated_user_may_invite should_drop_federated_event user_may_create_room
        user_may_create_room_alias user_may_invite user_may_join_room user_may_publish_room
        user_may_send_3pid_invite user_may_send_state_event
        """.split()
    ),
    "register_password_auth_provider_callbacks": frozenset(),
    "register_account_validity_callbacks": frozenset(
        "on_legacy_admin_request on_legacy_renew on_legacy_send_mail".split()
    ),
    "register_third_party_rules_callbacks": frozenset(
        """
        check_can_deactivate_user check_can_shutdown_room check_event_allowed
        check_threepid_can_be_invited check_visibility_can_be_modified on_create_room on_new_event
        on_profile_update on_user_deactivation_status_changed
        """.split()
    ),
    "register_background_update_controller_callbacks": frozenset(
        "default_batch_size min_batch_size on_update".split()
    ),
    "register_media_repository_callbacks": frozenset(
        """
        get_media_config_for_user get_media_upload_limits_for_user
        is_user_allowed_to_upload_media_of_size on_media_upload_limit_exceeded
        """.split()
    ),
    "register_presence_router_callbacks": frozenset(
        "get_interested_users get_users_for_states".split()
    ),
    "register_ratelimit_callbacks": frozenset({"get_ratelimit_override_for_user"}),
}


@attr.frozen
class Registry:
    """``lists``: the callbacks that are called, by the method that registers them and by name. What
    has its own shape, such as a mapping of checkers, is any object with ``register_of_module``."""

    lists: Mapping[str, Mapping[str, Callbacks]]
    # The modules and callbacks that the log has named as unused.
    _told: set[tuple[str, str]] = attr.field(init=False, factory=set)

    def knows(self, method: str) -> bool:
        """Whether this is a method that registers callbacks."""
        return method in UNUSED or method in self.lists

    def register(self, module: str, method: str, callbacks: Mapping[str, Optional[Any]]) -> None:
        """Register those that are not None. TypeError for a name that is no callback of this
        method, before any is registered, and for what cannot be called."""
        called, unused = self.lists.get(method, {}), UNUSED.get(method, frozenset())
        for name in callbacks:
            if name not in called and name not in unused:
                raise TypeError(f"{method}: there is no callback {name!r}{_hint(name, self)}")
        for name, callback in callbacks.items():
            if callback is None:
                continue
            if name in called:
                called[name].register_of_module(module, callback)
            elif (module, name) not in self._told:
                self._told.add((module, name))
                log.info(
                    "{callback} of module {module} is never called: no registration or login comes"
                    " to where it would be",
                    callback=name,
                    module=module,
                )


def _hint(name: str, registry: Registry) -> str:
    """Where a callback of this, or of a similar, name belongs; empty if there is none."""
    places = {
        callback: method
        for method in {*UNUSED, *registry.lists}
        for callback in {*registry.lists.get(method, ()), *UNUSED.get(method, ())}
    }
    if name in places:
        return f": {places[name]} registers it"
    near = difflib.get_close_matches(name, sorted(places), 1, 0.6)
    return f": did you mean {near[0]!r} ({places[near[0]]})?" if near else ""
