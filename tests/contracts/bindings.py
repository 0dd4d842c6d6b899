"""The contract of BindingStore: what identity servers were asked to publish."""

from __future__ import annotations

import attr

from regsys.model import Secret
from regsys.model.identity_server_bindings import IdentityServerSession
from regsys.storage.identity_server_bindings import BindingStore
from regsys.testing.contracts.case import NOW_MS, Contract, user
from tests.support.values import binding


class BindingStoreContract(Contract):
    """A BindingStore."""

    def make(self) -> BindingStore:
        """An empty store."""
        raise NotImplementedError()

    async def test_remembered(self) -> None:
        """A user's bindings are listed by server, and each is found by its id."""
        store = self.make()
        bare = attr.evolve(binding("a.example"), session=None)
        both = [bare, binding("b.example:8090")]
        for item in reversed(both):
            self.assertIs(await store.add(item, NOW_MS), True)
        await store.add(binding("a.example", "bob"), NOW_MS)
        self.assertEqual(list(await store.of_user(user("alice"))), both)
        self.assertEqual(await store.get(both[1].binding_id), both[1])
        self.assertEqual(list(await store.of_user(user("carol"))), [])

    async def test_anew(self) -> None:
        """A new binding replaces the old one of the same address and server, under its own id."""
        store = self.make()
        old = binding("a.example")
        new = binding(
            "a.example", session=IdentityServerSession(sid="other", client_secret=Secret("secret"))
        )
        others = [
            binding("a.example", address="bob@mail.example"),
            binding("a.example", medium="msisdn"),
            binding("b.example"),
        ]
        hers = binding("a.example", "bob")
        for item in (old, *others, hers):
            self.assertIs(await store.add(item, NOW_MS), True, item)
        self.assertIs(await store.add(new, NOW_MS), False)
        self.assertEqual(list(await store.of_user(user("alice"))), [new, *others])
        self.assertEqual(list(await store.of_user(user("bob"))), [hers])
        self.assertIsNone(await store.get(old.binding_id))

    async def test_answered(self) -> None:
        """Until the server has answered, the binding has the time until which it may be asked."""
        store = self.make()
        asked = binding("a.example", asked_until_ms=NOW_MS + 5)
        other = binding("b.example", asked_until_ms=NOW_MS + 5)
        for item in (binding("a.example"), asked, other):
            await store.add(item, NOW_MS)
        self.assertEqual(await store.get(asked.binding_id), asked)
        for _ in range(2):
            await store.mark_answered(asked.binding_id)
        known = [attr.evolve(asked, asked_until_ms=0), other]
        self.assertEqual(list(await store.of_user(user("alice"))), known)

    async def test_removed(self) -> None:
        """A binding is removed once."""
        store = self.make()
        one, two = binding("a.example"), binding("b.example")
        for item in (one, two):
            await store.add(item, NOW_MS)
        self.assertIs(await store.remove(one.binding_id), True)
        self.assertIs(await store.remove(one.binding_id), False)
        self.assertIsNone(await store.get(one.binding_id))
        self.assertEqual(list(await store.of_user(user("alice"))), [two])
