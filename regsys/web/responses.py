"""What the endpoints have in common: where they live, how a login and what is to do are told."""

from __future__ import annotations

from typing import Any

from regsys.model import Challenge, Created, Login, UserID


def client_paths(path: str, *versions: str) -> tuple[str, ...]:
    """Where an endpoint of the client-server API lives; v3 and r0 unless told otherwise."""
    return tuple(f"/_matrix/client/{version}/{path}" for version in versions or ("v3", "r0"))


def who(user_id: UserID) -> dict[str, Any]:
    return {"user_id": str(user_id), "home_server": user_id.server}


def registered(created: Created, now_ms: int) -> dict[str, Any]:
    """A new account, as every way of registering tells it; without a login if none was wanted."""
    login = {} if created.login is None else access(created.login, now_ms)
    return {**who(created.user_id), **login}


def access(login: Login, now_ms: int) -> dict[str, Any]:
    """A login's device and tokens, as /register, /login and /refresh tell them."""
    return {"device_id": login.device_id, **tokens(login, now_ms)}


def tokens(login: Login, now_ms: int) -> dict[str, Any]:
    """The tokens, and how long the first is good for from now on (contract B4.5)."""
    answer: dict[str, Any] = {"access_token": login.access_token.reveal()}
    if login.terms.valid_until_ms is not None:
        answer["expires_in_ms"] = max(0, login.terms.valid_until_ms - now_ms)
    if login.refresh_token is not None:
        answer["refresh_token"] = login.refresh_token.reveal()
    return answer


def challenged(challenge: Challenge) -> dict[str, Any]:
    """The body of the 401 that asks for what is still to do (contract B8.1)."""
    answer: dict[str, Any] = {
        "session": challenge.session_id,
        "flows": [{"stages": list(flow)} for flow in challenge.flows],
        "params": dict(challenge.params),
    }
    if challenge.completed is not None:
        answer["completed"] = list(challenge.completed)
    if challenge.errcode is not None:
        answer.update(errcode=challenge.errcode, error=challenge.error)
    return answer
