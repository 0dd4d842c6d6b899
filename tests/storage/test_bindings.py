"""Bindings at identity servers, in our own tables."""

from __future__ import annotations

from typing import Any

import attr
from twisted.trial.unittest import TestCase

from regsys.storage.encryption import Encryptor
from regsys.storage.identity_server_bindings import BindingStore
from regsys.testing.contracts.case import NOW_MS, user
from tests.contracts.bindings import BindingStoreContract
from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.tables import Tables
from tests.support.values import PROOF, binding


class OwnBindings(Tables, BindingStoreContract):
    def make(self, secret: bytes = b"a secret") -> BindingStore:
        return BindingStore(self.db, Encryptor(secret))

    async def test_encrypted(self: Any) -> None:
        """With another server's secret, or in another row, the stored validation session cannot be
        decrypted: the binding is returned without it."""
        both = [binding("a.example"), binding("b.example")]
        for item in both:
            await self.make().add(item, NOW_MS)
        bare = [attr.evolve(item, session=None) for item in both]
        self.assertEqual(await self.make(b"another").of_user(user("alice")), bare)
        for (proof,) in await self.rows("SELECT proof FROM bindings"):
            self.assertNotIn(PROOF.client_secret.reveal(), proof)
        await self.change(
            "UPDATE bindings SET proof = (SELECT proof FROM bindings WHERE id_server = 'b.example')"
            " WHERE user_id = ?",
            str(user("alice")),
        )
        self.assertEqual(await self.make().of_user(user("alice")), [bare[0], both[1]])


class MemoryBindingTests(InMemory, OwnBindings, TestCase):
    pass


class PostgresBindingTests(OnPostgreSQL, OwnBindings, TestCase):
    pass
