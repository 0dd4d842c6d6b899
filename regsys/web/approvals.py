"""The queue of accounts that wait for approval, for administrators' programs (contract B2.8)."""

from __future__ import annotations

from typing import Any, Optional

from regsys import json_body
from regsys.accounts.approvals import DEFAULT, MOST, Approvals
from regsys.errors import InvalidParam
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IAuth
from regsys.model.approvals import Decided, WaitingAccount
from regsys.web.admin_queries import user_id_of
from regsys.web.login import administrator

PATH = "/_regsys/v1/approvals"


def endpoints(approvals: Approvals, auth: IAuth, server_name: str) -> list[Endpoint]:
    async def get(call: Call) -> Reply:
        await administrator(call, auth)
        page = await approvals.waiting(_limit(call.query("limit")), call.query("from"))
        answer: dict[str, Any] = {
            "approvals": [account_json(account) for account in page.accounts],
            "total": (await approvals.queue()).count,
        }
        if page.next_token is not None:
            answer["next_token"] = page.next_token
        return Reply(answer)

    async def approve(call: Call) -> Reply:
        who = await administrator(call, auth)
        user_id = user_id_of(call.path_args["user_id"], server_name)
        return Reply(decided_json(await approvals.approve(user_id, str(who.user_id))))

    async def refuse(call: Call) -> Reply:
        who = await administrator(call, auth)
        reason = json_body.string(call.object(), "reason") if call.body else None
        user_id = user_id_of(call.path_args["user_id"], server_name)
        return Reply(decided_json(await approvals.refuse(user_id, reason, str(who.user_id))))

    return [
        Endpoint("approvals", (PATH,), {"GET": get}),
        Endpoint("approval_approve", (PATH + "/{user_id}/approve",), {"POST": approve}),
        Endpoint("approval_refuse", (PATH + "/{user_id}/refuse",), {"POST": refuse}),
    ]


def account_json(account: WaitingAccount) -> dict[str, Any]:
    return {
        "user_id": str(account.user_id),
        "displayname": account.display_name,
        "reason": account.reason,
        "emails": list(account.emails),
        "phones": list(account.phones),
        "ip": account.address,
        "requested_ts": account.requested_ms,
    }


def decided_json(decided: Decided) -> dict[str, Any]:
    return {
        "user_id": str(decided.user_id),
        "decision": decided.decision.value,
        "by": decided.by,
        "decided_ts": decided.decided_ms,
        "is_new": decided.is_new,
        "released": decided.released,
    }


def _limit(text: Optional[str]) -> int:
    if text is None:
        return DEFAULT
    if text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST:
        return int(text)
    raise InvalidParam(f"'limit' must be a number from 1 to {MOST}.")
