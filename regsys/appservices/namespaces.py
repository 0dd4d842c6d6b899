"""The namespaces of application services: which user IDs they reserve (contract B3.1)."""

from __future__ import annotations

import hashlib
from typing import Callable, Collection, Mapping, Optional

import attr
from zope.interface import implementer

from regsys.interfaces import IAppservices
from regsys.model import Appservice, Secret, UserID


def _digest(token: Secret) -> bytes:
    # The time of a lookup depends on the key: with a digest as the key it reveals nothing.
    return hashlib.sha256(token.reveal().encode("utf-8")).digest()


@implementer(IAppservices)
@attr.frozen
class Appservices:
    """The configured application services. A sender that several services share belongs to the
    first of them."""

    services: tuple[Appservice, ...]
    _by_digest: Mapping[bytes, Appservice] = attr.field(repr=False)
    _own_users: Mapping[str, UserID]
    _senders: Mapping[str, str]
    # Those of all services, in order: how a name is matched, the service's id, and whether it is
    # exclusive.
    _namespaces: tuple[tuple[Callable[[str], object], str, bool], ...] = attr.field(repr=False)

    @classmethod
    def from_services(cls, services: Collection[Appservice], server_name: str) -> Appservices:
        own_users = {item.id: UserID(item.sender_localpart, server_name) for item in services}
        senders: dict[str, str] = {}
        for appservice_id, user_id in own_users.items():
            senders.setdefault(user_id.name_key, appservice_id)
        return cls(
            tuple(services),
            {_digest(service.as_token): service for service in services},
            own_users,
            senders,
            tuple(
                (namespace.regex.match, service.id, namespace.exclusive)
                for service in services
                for namespace in service.users
            ),
        )

    def by_token(self, as_token: Secret) -> Optional[Appservice]:
        return self._by_digest.get(_digest(as_token)) if self._by_digest else None

    def may_use(self, appservice_id: str, user_id: UserID) -> bool:
        if self._own_users.get(appservice_id) == user_id:
            return True
        return appservice_id in self._deciding(user_id)

    def reserved_for(self, user_id: UserID) -> Collection[str]:
        sender = self._senders.get(user_id.name_key)
        if sender is not None:
            return (sender,)
        return [name for name, is_exclusive in self._deciding(user_id).items() if is_exclusive]

    def _deciding(self, user_id: UserID) -> Mapping[str, bool]:
        """The services (by id) with a namespace that matches the user ID, from its start. The first
        one of a service that does says whether the name is the service's alone."""
        text = str(user_id)
        found: dict[str, bool] = {}
        for matches, appservice_id, is_exclusive in self._namespaces:
            if matches(text):
                found.setdefault(appservice_id, is_exclusive)
        return found
