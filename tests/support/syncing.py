"""A client whose ``/sync`` is always open, as that of a person who looks at their messages."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import Any, Optional
from urllib.parse import quote

import attr

from tests.support.patience import PATIENCE_S, until

# How long a server holds a request for which it has nothing to say.
HELD_MS = 30_000
PAUSE_S = 0.1


@attr.define(eq=False)
class SyncingClient:
    """Asks for news of ``token`` again and again, at ``port``. It keeps the token whatever happens,
    as a client does: only a 401 makes it give up, and log its user out."""

    name: str
    port: int
    token: str = attr.field(repr=False)
    statuses: set[int] = attr.field(factory=set)
    refusal: Optional[str] = None
    seen: set[str] = attr.field(factory=set)
    _since: Optional[str] = None
    _is_over: bool = False
    _thread: threading.Thread = attr.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for(self, word: str) -> None:
        """Return once a message, or what was sent to its device, with this text has come."""
        until(lambda: word in self.seen or self.refusal, lambda: f"{word!r} for {self}")
        assert word in self.seen, f"{word!r} for {self}"

    def wait_for_end(self) -> None:
        """Return once its token is refused."""
        until(lambda: self.refusal, lambda: f"{self} goes on")

    def stop(self) -> None:
        """Take no notice of anything that comes from now on."""
        self._is_over = True

    def _run(self) -> None:
        while not (self._is_over or self.refusal):
            try:
                status, body = self._ask()
            except (OSError, http.client.HTTPException, ValueError):
                # The server is away, or has ended in the middle of its answer.
                time.sleep(PAUSE_S)
                continue
            if self._is_over:
                return
            self.statuses.add(status)
            if status == 200:
                self._since = body["next_batch"]
                self.seen.update(_words(body))
            elif status == 401:
                self.refusal = f"{body}"
            else:
                time.sleep(PAUSE_S)

    def _ask(self) -> tuple[int, Any]:
        since = "" if self._since is None else f"&since={quote(self._since)}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            path = f"/_matrix/client/v3/sync?timeout={HELD_MS}{since}"
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


def _words(body: Any) -> list[str]:
    rooms = body.get("rooms", {}).get("join", {}).values()
    events = [event for room in rooms for event in room.get("timeline", {}).get("events", ())]
    events += body.get("to_device", {}).get("events", ())
    found = [event.get("content", {}).get("body") for event in events]
    return [word for word in found if isinstance(word, str)]
