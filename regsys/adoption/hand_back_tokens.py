"""The statements for the tokens of one account."""

from __future__ import annotations

from typing import Callable, Mapping, Optional, Sequence

import attr

from regsys.adoption.ours import OurAccount, OurLogin
from regsys.adoption.report import Findings
from regsys.adoption.sql import Script
from regsys.adoption.synapse import Batch, SynapseToken
from regsys.model import Login, LoginTerms, UserID
from regsys.model.token_text import token_hash

# Makes the tokens of a login from its user, its terms and what they were made with.
Issue = Callable[[UserID, LoginTerms, str], Login]


@attr.frozen(kw_only=True)
class TokenStatements:
    script: Script
    issue: Issue
    found: Findings

    def write(self, account: OurAccount, batch: Batch, logins: Sequence[OurLogin]) -> None:
        """Delete the tokens there that have ended here, and add those that were made here."""
        name = account.user_id
        tokens = batch.tokens.get(name, ())
        devices = {device.device_id for device in batch.devices.get(name, ())}
        there = {token_hash(token.token): token for token in tokens}
        ours = {login.access_hash: login for login in logins}
        for access_hash, token in there.items():
            if access_hash in ours:
                self.found.counts["kept"] += 1
            elif _was_adopted(token, account, devices):
                self._delete(token)
        issued = {}
        for access_hash, login in ours.items():
            if access_hash not in there:
                made = self._made_again(login)
                if made is None:
                    self.found.found("token", name, f"device {login.device_id}")
                else:
                    issued[access_hash] = made
                    self._insert(login, made, login.device_id in devices)
        self._link(ours, there, issued)

    def _delete(self, token: SynapseToken) -> None:
        self.found.counts["ended"] += 1
        self.script.statement(
            "DELETE FROM access_tokens WHERE id = {id} AND user_id = {name}"
            " AND device_id = {device}",
            id=token.id,
            name=token.user_id,
            device=token.device_id,
        )
        if token.refresh_id is not None:
            # First, as the row that was replaced by it would be deleted with it.
            self.script.statement(
                "UPDATE refresh_tokens SET next_token_id = NULL WHERE next_token_id = {id}",
                id=token.refresh_id,
            )
            self.script.statement(
                "DELETE FROM refresh_tokens WHERE id = {id} AND user_id = {name}",
                id=token.refresh_id,
                name=token.user_id,
            )

    def _made_again(self, login: OurLogin) -> Optional[Login]:
        """The tokens of a login; None if they cannot be made again."""
        if login.made_with is None:
            return None
        made = self.issue(UserID.parse(login.user_id), login.terms, login.made_with)
        is_same = token_hash(made.access_token.reveal()) == login.access_hash
        return made if is_same else None

    def _insert(self, login: OurLogin, made: Login, has_device: bool) -> None:
        self.found.counts["tokens"] += 1
        values = {"name": login.user_id, "device": login.device_id}
        if not has_device:
            self.script.statement(
                "INSERT INTO devices (user_id, device_id, display_name)"
                " SELECT {name}, {device}, {shown} WHERE EXISTS"
                " (SELECT 1 FROM users WHERE name = {name} AND deactivated = 0) AND NOT EXISTS"
                " (SELECT 1 FROM devices WHERE user_id = {name} AND device_id = {device})",
                shown=login.device_name,
                **values,
            )
        refresh = None if made.refresh_token is None else made.refresh_token.reveal()
        if refresh is not None:
            self.script.statement(
                "INSERT INTO refresh_tokens"
                " (id, user_id, device_id, token, expiry_ts, ultimate_session_expiry_ts)"
                f" SELECT {_next_id('refresh_tokens')}, {{name}}, {{device}}, {{token}}, {{until}},"
                f" {{session}} {_guard('refresh_tokens')}",
                token=refresh,
                until=login.refresh_until_ms,
                session=login.session_until_ms,
                **values,
            )
        pair = "NULL" if refresh is None else _PAIR
        self.script.statement(
            "INSERT INTO access_tokens"
            " (id, user_id, device_id, token, valid_until_ms, refresh_token_id, used)"
            f" SELECT {_next_id('access_tokens')}, {{name}}, {{device}}, {{token}}, {{until}},"
            f" {pair}, FALSE"
            f" {_guard('access_tokens')}",
            token=made.access_token.reveal(),
            until=login.valid_until_ms,
            refresh=refresh,
            **values,
        )

    def _link(
        self,
        ours: Mapping[str, OurLogin],
        there: Mapping[str, SynapseToken],
        issued: Mapping[str, Login],
    ) -> None:
        """A pair may be replaced by one that was not used yet: it is good until then."""
        for access_hash, made in issued.items():
            replaced = ours[access_hash].replaces
            if replaced is None or replaced not in ours or made.refresh_token is None:
                continue
            earlier: dict[str, Optional[str]] = {"new": made.refresh_token.reveal()}
            if replaced in there:
                where = f"id = {there[replaced].refresh_id or 0}"
            elif replaced in issued and (spent := issued[replaced].refresh_token) is not None:
                where, earlier["old"] = "token = {old}", spent.reveal()
            else:
                continue
            self.script.statement(
                "UPDATE refresh_tokens SET next_token_id ="
                " (SELECT id FROM refresh_tokens WHERE token = {new})"
                f" WHERE {where} AND next_token_id IS NULL",
                **earlier,
            )


def _was_adopted(token: SynapseToken, account: OurAccount, devices: set[str]) -> bool:
    """Whether the token was adopted, or was dead by then: others were left there."""
    return (
        token.puppets is None
        and token.device_id in devices
        and account.last_token is not None
        and token.id <= account.last_token
    )


_PAIR = "(SELECT id FROM refresh_tokens WHERE token = {refresh})"


def _next_id(table: str) -> str:
    return f"(SELECT COALESCE(MAX(id), 0) + 1 FROM {table})"


def _guard(table: str) -> str:
    return (
        "WHERE EXISTS (SELECT 1 FROM devices WHERE user_id = {name} AND device_id = {device})"
        f" AND NOT EXISTS (SELECT 1 FROM {table} WHERE token = {{token}})"
    )
