"""People at a live server: their passwords and tokens, and a client for each token."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from tests.adoption.live import V3, Live
from tests.support.service_process import SERVER_NAME
from tests.support.syncing import SyncingClient

ADMIN = "/_synapse/admin"
DEAD = (401, "M_UNKNOWN_TOKEN")


def user_id(name: str) -> str:
    return f"@{name}:{SERVER_NAME}"


class People(Live):
    """``tokens``: access tokens by a word for each; ``passwords``: what logs in, by name;
    ``clients``: by the word of their token. ``ended``: words of the tokens that their users have
    ended. ``root`` is the administrator, and ``room`` where all are."""

    def meet(self: Any) -> None:
        """Begin without anybody."""
        self.tokens: dict[str, str] = {}
        self.passwords: dict[str, str] = {}
        self.clients: dict[str, SyncingClient] = {}
        self.ended: set[str] = set()
        self.said = 0
        self.addCleanup(lambda: [client.stop() for client in self.clients.values()])

    def syncs(self: Any, *words: str) -> None:
        for word in words:
            port = self.synapse.port
            self.clients[word] = SyncingClient(word, port, self.tokens[word])

    def register(self: Any, name: str, password: str, **more: Any) -> Any:
        body = {"username": name, "password": password, "auth": {"type": "m.login.dummy"}}
        made = self.done("POST", f"{V3}/register", {**body, "device_id": name.upper(), **more})
        self.tokens[name], self.passwords[name] = made["access_token"], password
        return made

    def new_device(self: Any, word: str, name: str, **more: Any) -> Any:
        status, made = self.log_in(name, self.passwords[name], device_id=word.upper(), **more)
        self.assertEqual(status, 200, made)
        self.tokens[word] = made["access_token"]
        return made

    def join(self: Any, *words: str) -> None:
        for word in words:
            self.done("POST", f"{V3}/join/{quote(self.room)}", {}, self.tokens[word])

    def say(self: Any, words: str) -> None:
        """Alice writes in the room, and to her own second device: every client hears of it."""
        self.said += 1
        token, number = self.tokens["alice"], self.said
        path = f"{V3}/rooms/{quote(self.room)}/send/m.room.message/{number}"
        self.done("PUT", path, {"msgtype": "m.text", "body": words}, token)
        to_device = {"messages": {user_id("alice"): {"SECOND": {"body": f"to you: {words}"}}}}
        self.done("PUT", f"{V3}/sendToDevice/m.test/{number}", to_device, token)
        for word, client in self.clients.items():
            if word not in self.ended:
                client.wait_for(words)
        if "second" not in self.ended:
            self.clients["second"].wait_for(f"to you: {words}")

    def close(self: Any, word: str) -> None:
        """Close a client that was not logged out."""
        client = self.clients.pop(word)
        client.stop()
        self.assertIsNone(client.refusal, client)

    def end(self: Any, *words: str) -> None:
        """These tokens have been ended by their users: their clients notice."""
        self.ended.update(words)
        for word in words:
            self.assertEqual(self.whoami(self.tokens[word]), DEAD, word)
            if word in self.clients:
                self.clients[word].wait_for_end()

    def check(self: Any) -> None:
        """Every token is what it must be, and no client was logged out."""
        for word, token in self.tokens.items():
            found = self.whoami(token)
            self.assertEqual(found[0], 401 if word in self.ended else 200, (word, found))
            if self.service is not None:
                here = self.service.ask("GET", f"{V3}/account/whoami", token=token)
                self.assertEqual(here.status, found[0], (word, here))
        refused = {word for word, client in self.clients.items() if client.refusal}
        self.assertEqual(refused - self.ended, set())
        for name, password in self.passwords.items():
            status, body = self.log_in(name, password)
            self.assertEqual(status, 200, (name, body))
            token = body["access_token"]
            self.assertEqual(self.whoami(token), (200, user_id(name), body["device_id"]))
            self.done("POST", f"{V3}/logout", {}, token)
            self.assertEqual(self.whoami(token), DEAD)
            self.assertEqual(self.log_in(name, f"!{password}")[0], 403, name)
        self.assertEqual(self.log_in("carol@mail.example", self.passwords["carol"])[0], 200)
        self.assertEqual(self.log_in("dave", "dave's password")[0], 403)

    def validate(self: Any, path: str, address: str, *token: str) -> dict[str, str]:
        """Request a mail, and follow its link; the credentials."""
        body = {"email": address, "client_secret": "a.client.secret", "send_attempt": 1}
        self.done("POST", path, body, *token)
        mail = self.mails.next_mail()
        link = re.search(r"^https?://\S+$", mail.part("plain"), re.MULTILINE)
        parts = urlsplit(link[0] if link else "")
        fields = dict(parse_qsl(parts.query))
        self.done("POST", parts.path, fields)
        return {"sid": fields["sid"], "client_secret": "a.client.secret"}

    def administer(self: Any, method: str, name: str, **body: Any) -> None:
        path = f"{ADMIN}/v2/users/{user_id(name)}"
        status, answer = self.ask(method, path, body, self.tokens["root"])
        self.assertIn(status, (200, 201), answer)
