"""The contract of IStage: the right ``auth`` passes, and any other JSON fails as StageFailed."""

from __future__ import annotations

import copy
import json
from typing import Any, Iterator, Mapping

from regsys.errors import StageFailed
from regsys.interfaces import IStage, StageContext
from regsys.interfaces.hooks import StagePage
from regsys.model import Client, UIASession
from regsys.testing.contracts.case import (
    NOW_MS,
    Contract,
    MaybeAwaitable,
    part_of,
    value_of,
    yours,
)

# Any of these may stand in a client's JSON. (regsys refuses NUL and lone surrogates before.)
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**40,
    "",
    " ",
    "ü",
    "null",
    "x" * 70_000,
    [],
    [None],
    ["a", ["b"]],
    {},
    {"a": None},
    {"code": {"code": "code"}},
)
# These choose the stage and the session, before the stage is asked.
NOT_THE_STAGES = frozenset({"type", "session"})


class StageContract(Contract):
    """An IStage, and an ``auth`` that passes it.

    If a test fails, a stranger gets past the stage, or a client that sends nonsense gets an
    internal error in place of the chance to try again.
    """

    @yours
    def make(self) -> MaybeAwaitable[IStage]:
        """The stage."""
        raise NotImplementedError()

    @yours
    def right(self) -> MaybeAwaitable[Mapping[str, Any]]:
        """An ``auth`` that passes the stage in ``session``, without any key that it could do
        without. Called after ``make``, once in each test."""
        raise NotImplementedError()

    def session(self) -> UIASession:
        """The session in which the stage is tried."""
        return UIASession(
            session_id="S" * 24,
            method="POST",
            uri="/_matrix/client/v3/register",
            created_ms=NOW_MS,
            expires_ms=NOW_MS + 3600_000,
            params={"username": "alice"},
        )

    async def checked(self, stage: IStage, auth: Mapping[str, Any]) -> Any:
        """The result of the check, which must change neither the session nor ``auth``."""
        session = self.session()
        context = StageContext(session=session, client=Client("192.0.2.1"))
        before = copy.deepcopy((session, auth))
        try:
            return await stage.check(auth, context)
        finally:
            rule = "check: it changes neither the session nor auth"
            self.assertEqual((session, auth), before, rule)

    async def fails(self, stage: IStage, auth: Mapping[str, Any], rule: str) -> None:
        """Assert that this ``auth`` is refused as a client can be told."""
        refusal = await self.refusal(StageFailed, self.checked(stage, auth), f"check: {rule}")
        told = (refusal.errcode, refusal.text)
        self.assertTrue(all(isinstance(item, str) and item for item in told), f"check: {told}")

    async def test_provides(self) -> None:
        """It has its methods, with the arguments that regsys calls them with; a type and a page."""
        stage = await part_of(IStage, self.make())
        self.assertTrue(isinstance(stage.type, str) and stage.type, "type: a non-empty str")
        is_page = stage.page is None or isinstance(stage.page, StagePage)
        self.assertTrue(is_page, f"page: a StagePage or None: {stage.page!r}")

    async def test_params(self) -> None:
        """``params`` is a JSON object or None, and the same each time for one session."""
        stage = await part_of(IStage, self.make())
        first, again = (stage.params(self.session()) for _ in range(2))
        self.assertEqual(again, first, "params: the same for the same session")
        if first is not None:
            self.assertIsInstance(first, Mapping, "params: an object or None")
            self.assertEqual(json.loads(json.dumps(first)), first, "params: JSON")

    async def test_right(self) -> None:
        """The right ``auth`` passes, also with further keys; the result is JSON, and not None."""
        stage = await part_of(IStage, self.make())
        auth = {**await value_of(self.right()), "org.example.further": {"a": [1]}}
        rule = "check: the right auth passes, whatever else is in it"
        result = await self.answer(self.checked(stage, auth), rule)
        rule = "check: returns JSON, True if there is nothing to remember; raises to refuse"
        self.assertFalse(result is None or result is False, f"{rule}: {result!r}")
        self.assertEqual(json.loads(json.dumps(result)), result, rule)

    async def test_missing(self) -> None:
        """Without any one of its keys the right ``auth`` is refused."""
        stage = await part_of(IStage, self.make())
        right = await value_of(self.right())
        for path in _paths(right):
            auth = _changed(right, path)
            await self.fails(stage, auth, f"StageFailed without {'.'.join(path)}")

    async def test_odd(self) -> None:
        """Whatever JSON stands in a key, the check fails as StageFailed, and by nothing else."""
        stage = await part_of(IStage, self.make())
        right = await value_of(self.right())
        for path in _paths(right):
            for odd in ODD:
                auth = _changed(right, path, odd)
                rule = f"StageFailed, and nothing else, for {'.'.join(path)} = {odd!r:.99}"
                await self.fails(stage, auth, rule)


def _paths(auth: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each key that is the stage's, also in nested objects."""
    for key, value in auth.items():
        if above or key not in NOT_THE_STAGES:
            yield (*above, key)
            if isinstance(value, Mapping):
                yield from _paths(value, (*above, key))


def _changed(auth: Mapping[str, Any], path: tuple[str, ...], *value: Any) -> Mapping[str, Any]:
    """``auth`` with this value in a place, or without the key if none is given."""
    changed = copy.deepcopy(dict(auth))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if value:
        inner[path[-1]] = value[0]
    else:
        del inner[path[-1]]
    return changed
