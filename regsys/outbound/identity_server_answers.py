"""Parses the answers of identity servers, of the v1 and the v2 API."""

from __future__ import annotations

import re
from typing import AbstractSet, Any, Callable, Mapping

from regsys.errors import RegistrationError
from regsys.outbound.http import Answer, NoAnswer

MAX_TEXT = 300
# After a 429 without retry_after_ms.
RETRY_MS = 2000

_ERRCODE = re.compile(r"[A-Z0-9_.]{1,100}")


def parse_answer(
    answer: Answer, refused: Callable[..., RegistrationError], our_fault: AbstractSet[int]
) -> Mapping[str, Any]:
    """The JSON object of a 200. For an error with an errcode raises ``refused(status, errcode,
    text, …)``, where the text is None if it is not printable or too long. Raises NoAnswer for
    anything else, and for statuses of ``our_fault``."""
    refuses = 400 <= answer.status < 500 and answer.status not in our_fault
    if answer.status != 200 and not refuses:
        raise NoAnswer(f"the status is {answer.status}")
    found = answer.json()
    if not isinstance(found, dict):
        raise NoAnswer("the answer is no object")
    if not refuses and "errcode" not in found:
        return found
    # Some old servers send errors with a 200.
    status = answer.status if refuses else 400
    errcode, text = found.get("errcode"), found.get("error")
    if not isinstance(errcode, str) or not _ERRCODE.fullmatch(errcode):
        raise NoAnswer(f"the status is {status}, without an errcode")
    if not isinstance(text, str) or not text.isprintable() or len(text) > MAX_TEXT:
        text = None
    wait_ms = found.get("retry_after_ms")
    extra = {"retry_after_ms": wait_ms} if type(wait_ms) is int and 0 < wait_ms < 2**31 else {}
    raise refused(status, errcode, text, **extra)
