"""Every field of NewAccount is found again: a part of HomeserverContract."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import attr

from regsys.model import NewAccount, Threepid, User, UserID
from regsys.testing.contracts.case import (
    NOW_MS,
    account,
    upgrade,
    value_of,
)
from regsys.testing.contracts.homeserver_case import HomeserverCase, HomeserverParts

# These fields of NewAccount are regsys's own, or say what is to be done: no account has them.
NOT_OF_AN_ACCOUNT = frozenset(
    "key session_id session_until_ms jobs device upgrades_guest call approval_request".split()
)
# Every homeserver must keep these.
ALWAYS_KEPT = frozenset({"user_id", "is_guest"})
# An upgrade does not change these.
KEPT_BY_AN_UPGRADE = frozenset(
    {"user_id", "created_ms", "is_guest", "display_name", "appservice_id", "is_ghost"}
)


def some_value(field: str, name: str) -> Mapping[str, Any]:
    """Arguments for an account of this name: a value of the field that is not its default."""
    mail = f"{name}@mail.example"
    values: dict[str, Any] = {
        "created_ms": NOW_MS + 1,
        "password_hash": f"the hash of {name}",
        "is_guest": True,
        "admin": True,
        "user_type": "special",
        "approved": False,
        "shadow_banned": True,
        "display_name": f"Dr. {name}",
        "appservice_id": "bridge",
        "is_ghost": True,
        "auth_provider_id": "sso",
        "threepids": (Threepid("email", mail, NOW_MS - 1),),
        "vouched_emails": (mail,),
        "registration_token": "a token",
        "consents": {"privacy_policy": "1.0"},
        "stages": {"m.login.dummy": True, "org.example.code": {"code": [1, None, "ü"]}},
        "extra": {"org.example.plan": {"seats": 3, "names": ["ü", None]}},
    }
    if field == "user_id":
        return {}  # the name is one already
    needed = ("threepids", field) if field == "vouched_emails" else (field,)
    return {key: values[key] for key in needed}


class KeptFields(HomeserverCase):
    """What a homeserver keeps of an account, and that its parts agree about it."""

    async def test_everyFieldIsKept(self) -> None:
        """Each field of NewAccount is found again with its value, or is named in ``not_kept``."""
        parts = await self.beside_others()
        lost = await self.kept(parts, account("plain", "plain", display_name=None))
        for number, field in enumerate(self.fields()):
            name = f"User{number}"
            lost += await self.kept(parts, account(name, name, **some_value(field, name)))
        self.none_lost(lost)

    async def test_everyFieldOfAnUpgrade(self) -> None:
        """The same holds for what a guest becomes; its name and display name stay."""
        parts = await self.beside_others()
        lost = []
        for number, field in enumerate(self.fields()):
            if field not in KEPT_BY_AN_UPGRADE:
                name = f"{number}"
                await parts.store.create_account(account(f"guest {name}", name, is_guest=True))
                new = upgrade(f"user {name}", name, **some_value(field, name))
                lost += await self.kept(parts, new, display_name=name)
        self.none_lost(lost)

    def none_lost(self, lost: Sequence[str]) -> None:
        rule = "create_account: keep each field, or name it in not_kept"
        self.assertFalse(lost, f"{rule}; stored says: {'; '.join(lost)}")

    def fields(self) -> list[str]:
        """The fields that this homeserver keeps."""
        names = {field.name for field in attr.fields(NewAccount)} - NOT_OF_AN_ACCOUNT
        self.assertFalse(isinstance(self.not_kept, str), "not_kept: a collection of names, no str")
        wrong = sorted(set(self.not_kept) - (names - ALWAYS_KEPT))
        may_be = ", ".join(sorted(names - ALWAYS_KEPT))
        self.assertFalse(wrong, f"not_kept: {wrong} cannot be in it; these can: {may_be}")
        return sorted(names - set(self.not_kept))

    async def kept(self, parts: HomeserverParts, new: NewAccount, **more: Any) -> list[str]:
        """Create the account, and return what of its fields is not found again, in words; with
        ``more``, it is an upgrade."""
        made = await parts.store.create_account(new)
        found = await value_of(self.stored(made))
        missing = [field for field in self.fields() if field not in found]
        rule = f"stored: has no {', '.join(missing)}: keep each, or name it in not_kept"
        self.assertFalse(missing, rule)
        lost = []
        for field in self.fields():
            if more and field == "created_ms":
                continue  # when the guest came, or when it became a user: as you like
            wanted, seen = _plain(more.get(field, getattr(new, field))), _plain(found[field])
            if seen != wanted:
                lost.append(f"{field} is {seen!r} and not {wanted!r} ({new.key})")
        if not lost:
            await self.agrees(parts, new, made, found)
        return lost

    async def agrees(
        self, parts: HomeserverParts, new: NewAccount, made: UserID, found: Mapping[str, Any]
    ) -> None:
        """Assert that IUserLookup and IThreepidStore say the same of the account."""
        if parts.users is not None:
            seen = await parts.users.find(new.user_id.localpart.upper())
            for field in set(self.fields()) & {item.name for item in attr.fields(User)}:
                rule = f"find: {field} is the account's ({new.key})"
                self.assertEqual(getattr(seen, field, "no account"), found[field], rule)
        if parts.threepids is not None:
            held = _plain(list(await parts.threepids.of_user(made)))
            rule = f"of_user: the account's addresses ({new.key})"
            self.assertEqual(held, _plain(new.threepids), rule)


def _plain(value: Any) -> Any:
    """The value as JSON would have it, so that lists and tuples are equal; identifiers as they
    are proven."""
    if isinstance(value, Threepid):
        return (value.medium, value.address, value.validated_at_ms)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
