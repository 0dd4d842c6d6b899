"""The namespaces of application services: which user IDs they reserve (contract B3.1)."""

from __future__ import annotations

import hashlib
from typing import Collection, Iterator, Mapping, Optional

import attr
from zope.interface import implementer

from regsys.appservices.literal_prefixes import prefixes
from regsys.interfaces import IAppservices
from regsys.model import Appservice, Secret, UserID, UserNamespace


def _digest(token: Secret) -> bytes:
    # The time of a lookup depends on the key: with a digest as the key it reveals nothing.
    return hashlib.sha256(token.reveal().encode("utf-8")).digest()


@attr.frozen
class _Entry:
    """A namespace, with its ``place`` in the order of all services' namespaces."""

    place: int
    appservice_id: str
    namespace: UserNamespace


@attr.frozen
class NamespaceIndex:
    """Finds the namespaces that match a user ID without trying all of them.

    ``_by_prefix`` has each namespace under the prefixes of its matches, whose lengths are
    ``_lengths``. So a search costs one lookup for each length, and one match for each namespace
    with a fitting prefix. Namespaces whose matches may begin with anything are under the empty
    prefix, and are always tried.
    """

    _by_prefix: Mapping[str, tuple[_Entry, ...]]
    _lengths: tuple[int, ...]

    @classmethod
    def from_services(cls, services: Collection[Appservice]) -> NamespaceIndex:
        entries: dict[str, list[_Entry]] = {}
        place = 0
        for service in services:
            for namespace in service.users:
                place += 1
                for prefix in prefixes(namespace.regex):
                    sharing = entries.setdefault(prefix, [])
                    sharing.append(_Entry(place, service.id, namespace))
        return cls(
            {prefix: tuple(sharing) for prefix, sharing in entries.items()},
            tuple(sorted({len(prefix) for prefix in entries})),
        )

    def first_matches(
        self, user_id: UserID, appservice_id: Optional[str] = None
    ) -> Iterator[_Entry]:
        """The first entry of each service, or of the named one only, that matches the user ID at
        its start."""
        text = str(user_id)
        likely = {
            entry.place: entry
            for length in self._lengths
            for entry in self._by_prefix.get(text[:length], ())
            if appservice_id is None or entry.appservice_id == appservice_id
        }
        decided: set[str] = set()
        for _, entry in sorted(likely.items()):
            if entry.appservice_id not in decided and entry.namespace.regex.match(text):
                decided.add(entry.appservice_id)
                yield entry


@implementer(IAppservices)
@attr.frozen
class Appservices:
    """The configured application services. A sender that several services share belongs to the
    first of them."""

    services: tuple[Appservice, ...]
    _by_digest: Mapping[bytes, Appservice] = attr.field(repr=False)
    _own_users: Mapping[str, UserID]
    _senders: Mapping[str, str]
    _namespaces: NamespaceIndex = attr.field(repr=False)

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
            NamespaceIndex.from_services(services),
        )

    def by_token(self, as_token: Secret) -> Optional[Appservice]:
        return self._by_digest.get(_digest(as_token)) if self._by_digest else None

    def may_use(self, appservice_id: str, user_id: UserID) -> bool:
        if self._own_users.get(appservice_id) == user_id:
            return True
        return any(True for _ in self._namespaces.first_matches(user_id, appservice_id))

    def reserved_for(self, user_id: UserID) -> Collection[str]:
        sender = self._senders.get(user_id.name_key)
        if sender is not None:
            return (sender,)
        matches = self._namespaces.first_matches(user_id)
        return [entry.appservice_id for entry in matches if entry.namespace.exclusive]
