"""The contracts of what stands behind bindings: our memory of them, a homeserver's signature."""

from __future__ import annotations

import attr

from regsys.interfaces import IRequestSigner
from regsys.model import Binding, IdentityServerSession, Secret
from regsys.storage.identity_server_bindings import BindingStore
from regsys.testing.contracts.case import NOW_MS, Contract, user
from regsys.testing.provides import provides

PROOF = IdentityServerSession(sid="sid", client_secret=Secret("client_secret"))


def binding(server: str, localpart: str = "alice", **more: object) -> Binding:
    """One of this user's at this server, with a proof."""
    told = {"medium": "email", "address": "alice@mail.example", "session": PROOF, **more}
    return Binding(user_id=user(localpart), id_server=server, **told)  # type: ignore[arg-type]


class BindingStoreContract(Contract):
    """An BindingStore."""

    def make(self) -> BindingStore:
        """A store that remembers nothing."""
        raise NotImplementedError()

    async def test_remembered(self) -> None:
        """What was bound for a user is known of this user, by server, whole; and by its id."""
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
        """What is bound anew takes the place of what was, under its own id."""
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
        """Until when it may still be asked for is known, until there is an answer."""
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
        """What is removed is gone, once."""
        store = self.make()
        one, two = binding("a.example"), binding("b.example")
        for item in (one, two):
            await store.add(item, NOW_MS)
        self.assertIs(await store.remove(one.binding_id), True)
        self.assertIs(await store.remove(one.binding_id), False)
        self.assertIsNone(await store.get(one.binding_id))
        self.assertEqual(list(await store.of_user(user("alice"))), [two])


class RequestSignerContract(Contract):
    """An IRequestSigner."""

    def make(self) -> IRequestSigner:
        """One that signs as some homeserver."""
        raise NotImplementedError()

    def test_provides(self) -> None:
        """It has its method, with the arguments that it will be called with."""
        provides(IRequestSigner, self.make())

    async def test_header(self) -> None:
        """It answers with one header, of the scheme among servers."""
        header = await self.make().authorization(
            "POST", "/_matrix/identity/v2/3pid/unbind", "id.example", {"mxid": "@alice:a.example"}
        )
        self.assertRegex(header, r"\AX-Matrix [ -~]+\Z")
