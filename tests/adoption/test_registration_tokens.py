"""Registration tokens of a Synapse become ours, and its own again."""

from __future__ import annotations

from typing import Any, Optional

from twisted.trial.unittest import TestCase

from regsys.adoption.registration_tokens import MOST_USES, NOTE
from regsys.model.registration_tokens import RegistrationToken
from regsys.storage.registration_tokens import RegistrationTokenStore
from tests.adoption.case import NOW_S, HandBackCase, examples
from tests.support.databases import InFile, InMemory, OnPostgreSQL

NOW_MS = NOW_S * 1000
DAY_MS = 24 * 3600 * 1000


class TokenCase(HandBackCase):
    @property
    def store(self) -> RegistrationTokenStore:
        return RegistrationTokenStore(self.db)

    async def ours(self: Any, token: str) -> Optional[tuple[Any, ...]]:
        """The uses allowed and completed, the end, and whether it is revoked."""
        found = await self.store.get(token, NOW_MS)
        if found is None:
            return None
        return found.uses_allowed, found.completed, found.expiry_ms, found.revoked

    def change_there(self: Any, token: str, **values: Any) -> None:
        settings = ", ".join(f"{name} = ?" for name in values)
        sql = f"UPDATE registration_tokens SET {settings} WHERE token = ?"
        self.there.execute(sql, (*values.values(), token))

    def theirs(self: Any) -> dict[str, tuple[Any, ...]]:
        columns = "token, uses_allowed, pending, completed, expiry_time"
        return {row[0]: row[1:] for row in self.there_is(columns, "registration_tokens")}


class Adopted(TokenCase):
    async def test_adopted(self: Any) -> None:
        """A token comes with its limits, its end and what was used of it; dialogues that are under
        way there do not count here."""
        self.there.registration_token("plain")
        self.there.registration_token(
            "limited", uses_allowed=3, pending=1, completed=2, expiry_time=NOW_MS + DAY_MS
        )
        report = self.adopt()
        self.assertEqual(await self.ours("plain"), (None, 0, None, False))
        self.assertEqual(await self.ours("limited"), (3, 2, NOW_MS + DAY_MS, False))
        found = await self.store.get("limited", NOW_MS)
        self.assertEqual((found.note, found.creator, found.created_ms), (NOTE, None, NOW_MS))
        self.assertTrue(found.is_valid(NOW_MS))
        self.assertEqual(report.counts["registration_tokens"], 2)
        self.assertFound(report)

    async def test_madeHere(self: Any) -> None:
        """A token that was made here stays as it is, and the report does not tell it."""
        await self.store.create(RegistrationToken(token="the-same-word", uses_allowed=1))
        self.there.registration_token("the-same-word", uses_allowed=100)
        report = self.adopt()
        self.assertEqual(await self.ours("the-same-word"), (1, 0, None, False))
        self.assertFound(report, token_here=1)
        self.assertNotIn("the-same-word", "\n".join(report.lines()))
        self.assertIn("the…", "\n".join(report.lines()))
        self.assertIsNotNone(examples(report, "registration token"))

    async def test_again(self: Any) -> None:
        """A later run takes over uses, limits and deletions; it changes nothing if nothing has
        changed there."""
        for token in ("used", "limits", "deleted"):
            self.there.registration_token(token, uses_allowed=5)
        self.adopt()
        before = await self.contents()
        report = self.adopt()
        self.assertEqual(await self.contents(), before)
        self.assertEqual(report.counts["registration_tokens"], 0)
        self.change_there("used", completed=3)
        self.change_there("limits", uses_allowed=None, expiry_time=NOW_MS)
        self.there.execute("DELETE FROM registration_tokens WHERE token = 'deleted'")
        report = self.adopt()
        self.assertEqual(await self.ours("used"), (5, 3, None, False))
        self.assertEqual(await self.ours("limits"), (None, 0, NOW_MS, False))
        self.assertIsNone(await self.ours("deleted"))
        self.assertEqual(report.counts["registration_tokens_changed"], 3)
        self.assertFound(report)
        self.there.registration_token("deleted")
        self.assertEqual(self.adopt().counts["registration_tokens"], 1)

    async def test_changedHere(self: Any) -> None:
        """What was changed, revoked or deleted here stays so, whatever has become of it there; uses
        are never given back."""
        for token in ("limits", "revoked", "deleted", "used", "kept"):
            self.there.registration_token(token, uses_allowed=5)
        self.adopt()
        await self.store.change("limits", {"uses_allowed": 7})
        await self.store.change("revoked", {"revoked": True})
        await self.store.change("kept", {"revoked": True})
        await self.store.delete("deleted")
        await self.change("UPDATE registration_tokens SET completed = 4 WHERE token = 'used'")
        for token in ("limits", "revoked", "deleted"):
            self.change_there(token, uses_allowed=9)
        self.change_there("used", completed=1)
        self.there.execute("DELETE FROM registration_tokens WHERE token = 'kept'")
        report = self.adopt()
        self.assertEqual(await self.ours("limits"), (7, 0, None, False))
        self.assertEqual(await self.ours("revoked"), (9, 0, None, True))
        self.assertIsNone(await self.ours("deleted"))
        self.assertEqual(await self.ours("used"), (5, 4, None, False))
        self.assertEqual(await self.ours("kept"), (5, 0, None, True))
        self.assertFound(report, token_since=1)

    async def test_oddText(self: Any) -> None:
        """What no client could send is left."""
        if self.there.is_sqlite:
            self.there.execute(
                "INSERT INTO registration_tokens VALUES (CAST(x'ff' AS TEXT), 1, 0, 0, 1)"
            )
        self.there.registration_token("plain")
        self.assertEqual(self.adopt().counts["registration_tokens"], 1)


class HandedBack(TokenCase):
    async def test_nothing(self: Any) -> None:
        """Where nothing has changed, there is nothing to do."""
        self.there.registration_token("same", uses_allowed=5, pending=2, completed=1)
        self.adopt()
        script, _ = self.script()
        self.assertEqual(script, "")

    async def test_back(self: Any) -> None:
        """Uses, limits and new tokens go back; what has ended here is deleted there."""
        for token in ("used", "limits", "revoked", "deleted"):
            self.there.registration_token(token, uses_allowed=5, pending=1)
        self.adopt()
        await self.change("UPDATE registration_tokens SET completed = 4 WHERE token = 'used'")
        await self.store.change("limits", {"uses_allowed": None, "expiry_ms": NOW_MS})
        await self.store.change("revoked", {"revoked": True})
        await self.store.delete("deleted")
        await self.store.create(RegistrationToken(token="o'new", uses_allowed=2**40, completed=1))
        await self.store.create(RegistrationToken(token="never", revoked=True))
        report = self.hand_back()
        self.assertEqual(
            self.theirs(),
            {
                "used": (5, 1, 4, None),
                "limits": (None, 1, 0, NOW_MS),
                "o'new": (MOST_USES, 0, 1, None),
            },
        )
        counts = report.counts
        self.assertEqual(
            (counts["registration_tokens"], counts["registration_tokens_ended"]), (3, 2)
        )

    async def test_leftAlone(self: Any) -> None:
        """A token that was not adopted, or that is gone there, is left as it is there, and
        listed."""
        await self.store.create(RegistrationToken(token="both", uses_allowed=1))
        self.there.registration_token("both", uses_allowed=100)
        self.there.registration_token("gone")
        self.there.registration_token("later")
        self.adopt()
        self.there.execute("DELETE FROM registration_tokens WHERE token IN ('gone', 'later')")
        self.there.registration_token("later", uses_allowed=9)
        await self.store.change("later", {"uses_allowed": 10})
        self.hand_back(registration_token=3)
        self.assertEqual(self.theirs(), {"both": (100, 0, 0, None), "later": (10, 0, 0, None)})

    async def test_changedMeanwhile(self: Any) -> None:
        """A statement changes a token only if it still is as it was."""
        self.there.registration_token("one", uses_allowed=5)
        self.there.registration_token("two", uses_allowed=5)
        self.adopt()
        await self.store.change("one", {"uses_allowed": 7})
        await self.store.delete("two")
        script, _ = self.script()
        for token in ("one", "two"):
            self.change_there(token, completed=1)
        self.run_script(script)
        self.assertEqual(self.theirs(), {"one": (5, 0, 1, None), "two": (5, 0, 1, None)})


class MemoryAdopted(InMemory, Adopted, TestCase):
    pass


class FileAdopted(InFile, Adopted, TestCase):
    pass


class PostgresAdopted(OnPostgreSQL, Adopted, TestCase):
    in_postgres = True


class MemoryHandedBack(InMemory, HandedBack, TestCase):
    pass


class PostgresHandedBack(OnPostgreSQL, HandedBack, TestCase):
    in_postgres = True
