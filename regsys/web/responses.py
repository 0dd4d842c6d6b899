"""What the endpoints share: their paths, and the JSON of logins and challenges."""

from __future__ import annotations

from typing import Any

from regsys.model import Challenge, Created, Login, UserID


def client_paths(path: str, *versions: str) -> tuple[str, ...]:
    """The paths of a client-server endpoint, by default for v3 and r0."""
    return tuple(f"/_matrix/client/{version}/{path}" for version in versions or ("v3", "r0"))


def user_json(user_id: UserID) -> dict[str, Any]:
    return {"user_id": str(user_id), "home_server": user_id.server}


def registration_json(created: Created, now_ms: int) -> dict[str, Any]:
    """A new account, and its login if there is one."""
    login = {} if created.login is None else login_json(created.login, now_ms)
    return {**user_json(created.user_id), **login}


def login_json(login: Login, now_ms: int) -> dict[str, Any]:
    """A login's device and tokens, for /register and /login."""
    return {"device_id": login.device_id, **tokens_json(login, now_ms)}


def tokens_json(login: Login, now_ms: int) -> dict[str, Any]:
    """The tokens, and for how long from now the access token is valid (contract B4.5)."""
    answer: dict[str, Any] = {"access_token": login.access_token.reveal()}
    if login.terms.valid_until_ms is not None:
        answer["expires_in_ms"] = max(0, login.terms.valid_until_ms - now_ms)
    if login.refresh_token is not None:
        answer["refresh_token"] = login.refresh_token.reveal()
    return answer


def unbinding_json(is_done: bool) -> dict[str, Any]:
    """Whether identity servers have unbound the addresses in question."""
    return {"id_server_unbind_result": "success" if is_done else "no-support"}


def challenge_json(challenge: Challenge) -> dict[str, Any]:
    """The body of a challenge's 401 (contract B8.1)."""
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
