"""The contract of ValidationStore for sessions that differ in one value."""

from __future__ import annotations

from typing import Any, Sequence

import attr

from regsys.model.threepids import CODE_TRIES, VALIDATED_MS, Validation
from regsys.storage.validations import ValidationStore
from regsys.testing.contracts.case import NOW_MS, Contract, user
from tests.support.values import LIFE_MS, wanted

PHONE: dict[str, Any] = {"medium": "msisdn", "address": "4915112345678"}
# Sessions of which each differs from the first in one value.
NEIGHBOURS: Sequence[dict[str, Any]] = (
    {},
    {"medium": "email"},
    {"address": "4915100000000"},
    {"client_secret": "Secret"},
    {"user_id": user("alice")},
)


class ValidationNeighboursContract(Contract):
    """A ValidationStore in which each session has neighbours; run it beside
    ValidationStoreContract."""

    def make(self) -> ValidationStore:
        """An empty store."""
        raise NotImplementedError()

    async def found(self, store: ValidationStore, sid: str) -> Validation:
        found = await store.get(sid, NOW_MS)
        assert found is not None, sid
        return found

    async def test_eachGoesOn(self) -> None:
        """The same triple again finds its own session, and changes no other; a session that was
        validated before is not continued."""
        store = self.make()
        await store.begin(wanted("proven", **PHONE))
        self.assertTrue(await store.confirm("proven", NOW_MS))
        for number, change in enumerate(NEIGHBOURS):
            await store.begin(wanted(f"sid{number}", **{**PHONE, **change}))
        sids = [f"sid{number}" for number in range(len(NEIGHBOURS))]
        before = [await self.found(store, sid) for sid in sids]
        for number, change in enumerate(NEIGHBOURS):
            again = await store.begin(wanted("none", **{**PHONE, **change}))
            self.assertEqual((again.sid, again.job), (sids[number], None), change)
            link = f"https://{number}.example/"
            new = wanted("none", 2, next_link=link, **{**PHONE, **change})
            more = await store.begin(new)
            self.assertEqual((more.sid, more.job is not None), (sids[number], True), change)
            tokens = {1: NOW_MS, 2: NOW_MS}
            before[number] = attr.evolve(before[number], next_link=link, tokens=tokens)
            self.assertEqual([await self.found(store, sid) for sid in sids], before, change)

    async def test_onlyItsOwnIsTried(self) -> None:
        """A phone's session whose tries are used up is replaced by its own triple alone."""
        await self.replaced_alone(NOW_MS)

    async def test_onlyItsOwnExpires(self) -> None:
        """Nor is a session of another triple replaced that has expired."""
        await self.replaced_alone(NOW_MS + LIFE_MS)

    async def replaced_alone(self, now_ms: int) -> None:
        """Of several sessions whose tries are used up, the one that is begun again now is replaced,
        and none that differs in one value, or was validated."""
        store = self.make()
        await store.begin(wanted("proven", **PHONE))
        # From then on it lives as long as the others do.
        self.assertTrue(await store.confirm("proven", NOW_MS + LIFE_MS - VALIDATED_MS))
        sids = [f"sid{number}" for number in range(len(NEIGHBOURS))]
        for sid, change in zip(sids, NEIGHBOURS, strict=True):
            begun = await store.begin(wanted(sid, **{**PHONE, **change}))
            self.assertEqual(begun.sid, sid)
            for _ in range(CODE_TRIES):
                await store.count_try(sid)
        begun = await store.begin(wanted("new", 2, now_ms=now_ms, **PHONE))
        self.assertEqual(begun.sid, "new")
        self.assertIsNone(await store.get(sids[0], NOW_MS))
        for sid in ("proven", *sids[1:]):
            await self.found(store, sid)
