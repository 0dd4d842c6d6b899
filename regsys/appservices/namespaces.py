"""Whose names are: the namespaces of application services, however many (contract B3.1)."""

from __future__ import annotations

import hashlib
from typing import Collection, Iterator, Mapping, Optional

import attr
from zope.interface import implementer

from regsys.appservices.literal_prefixes import prefixes
from regsys.interfaces import IAppservices
from regsys.model import Appservice, Secret, UserID, UserNamespace


def _digest(token: Secret) -> bytes:
    # A look-up takes another time for every key: of a digest that tells nobody anything.
    return hashlib.sha256(token.reveal().encode("utf-8")).digest()


@attr.frozen
class _Entry:
    """A namespace at its ``place`` among those of all services, which keep their order."""

    place: int
    appservice_id: str
    namespace: UserNamespace


@attr.frozen
class NamespaceIndex:
    """Finds the namespaces that match a user ID without trying all of them.

    ``_by_prefix`` has each under the texts that its matches begin with, which are at most as
    many characters long as ``_lengths`` says; so a question costs one look-up for each length, and
    one match for each namespace that is likely to fit. Those that begin with anything stand under
    the empty text, and are always tried.
    """

    _by_prefix: Mapping[str, tuple[_Entry, ...]]
    _lengths: tuple[int, ...]

    @classmethod
    def of(cls, services: Collection[Appservice]) -> NamespaceIndex:
        entries: dict[str, list[_Entry]] = {}
        place = 0
        for service in services:
            for namespace in service.users:
                place += 1
                for prefix in prefixes(namespace.regex):
                    found = entries.setdefault(prefix, [])
                    found.append(_Entry(place, service.id, namespace))
        return cls(
            {prefix: tuple(found) for prefix, found in entries.items()},
            tuple(sorted({len(prefix) for prefix in entries})),
        )

    def first_matches(self, user_id: UserID, of: Optional[str] = None) -> Iterator[_Entry]:
        """The first entry of each service (of this one alone) that matches the whole user ID, from
        its start."""
        text = str(user_id)
        likely = {
            entry.place: entry
            for length in self._lengths
            for entry in self._by_prefix.get(text[:length], ())
            if of is None or entry.appservice_id == of
        }
        decided: set[str] = set()
        for _, entry in sorted(likely.items()):
            if entry.appservice_id not in decided and entry.namespace.regex.match(text):
                decided.add(entry.appservice_id)
                yield entry


@implementer(IAppservices)
@attr.frozen
class Appservices:
    """Those of a configuration; ``of`` makes it. Of several with one sender it is the first's."""

    services: tuple[Appservice, ...]
    _by_digest: Mapping[bytes, Appservice] = attr.field(repr=False)
    _own_users: Mapping[str, UserID]
    _senders: Mapping[str, str]
    _namespaces: NamespaceIndex = attr.field(repr=False)

    @classmethod
    def of(cls, services: Collection[Appservice], server_name: str) -> Appservices:
        own = {service.id: UserID(service.sender_localpart, server_name) for service in services}
        senders: dict[str, str] = {}
        for appservice_id, user_id in own.items():
            senders.setdefault(user_id.name_key, appservice_id)
        return cls(
            tuple(services),
            {_digest(service.as_token): service for service in services},
            own,
            senders,
            NamespaceIndex.of(services),
        )

    def by_token(self, as_token: Secret) -> Optional[Appservice]:
        return self._by_digest.get(_digest(as_token)) if self._by_digest else None

    def may_use(self, appservice_id: str, user_id: UserID) -> bool:
        if self._own_users.get(appservice_id) == user_id:
            return True
        return any(True for _ in self._namespaces.first_matches(user_id, of=appservice_id))

    def reserved_for(self, user_id: UserID) -> Collection[str]:
        sender = self._senders.get(user_id.name_key)
        if sender is not None:
            return (sender,)
        matches = self._namespaces.first_matches(user_id)
        return [entry.appservice_id for entry in matches if entry.namespace.exclusive]
