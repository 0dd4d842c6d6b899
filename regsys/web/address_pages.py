"""The pages of confirming an address (contract B7.6): ours, or the administrator's."""

from __future__ import annotations

import re
from typing import Mapping, Optional, Sequence
from urllib.parse import urlsplit

import attr
from twisted.logger import Logger

from regsys.config import ConfigError
from regsys.errors import RegistrationError
from regsys.http import Call, Page, Reply, refusal
from regsys.model import Validation
from regsys.templates import Templates, fault
from regsys.threepids.validation import ValidatedAddress
from regsys.web.pages import ADMINISTRATORS_SOURCES, Pages

_log = Logger()


@attr.frozen(kw_only=True)
class AddressPages:
    """``kind``: REGISTRATION or ADD_THREEPID of regsys.config.email, for a request without a valid
    session.

    ``theirs`` renders templates that were written for a homeserver; ``chosen`` has their files, by
    the homeserver's names (``registration_success.html``). Raises ConfigError if one of them cannot
    be rendered.
    """

    pages: Pages
    theirs: Templates
    chosen: Mapping[str, str]
    kind: str
    server_name: str

    def __attrs_post_init__(self) -> None:
        for ending in ("failure", "success"):
            name = f"{self.kind}_{ending}.html"
            try:
                self._chosen(name, (), failure_reason="")
            except Exception as error:  # a template may raise anything
                text = fault(self.chosen[name], error)
                raise ConfigError([f"{text} — mend it, or take it away"]) from None

    def ask(
        self, call: Call, validation: Validation, token: str, next_link: Optional[str]
    ) -> Reply:
        """The page with the button, and with a field for the code if ``token`` is empty.
        ``next_link``: where the button redirects to in the end."""
        return self.pages.reply(
            call,
            "confirm_address.html",
            sources=_redirect_sources(next_link),
            validation=validation,
            token=token,
            # The session's purpose, whichever endpoint serves the page.
            kind=validation.purpose.value,
            server_name=self.server_name,
        )

    def confirmed(self, call: Call, done: ValidatedAddress, redirect: int) -> Reply:
        """The page after the confirmation, or a redirect with this status to its next_link."""
        kind = done.purpose.value
        reply = self._chosen_reply(f"{kind}_success", call) or self.pages.reply(
            call, "address_confirmed.html", kind=kind, server_name=self.server_name
        )
        if done.next_link is None:
            return reply
        return attr.evolve(reply, status=redirect, headers={"Location": done.next_link})

    def refused(
        self,
        call: Call,
        error: RegistrationError,
        again: Optional[Validation] = None,
        next_link: Optional[str] = None,
    ) -> Reply:
        """The page of a refusal. ``again``: the session whose code may be typed again."""
        plain = refusal(error)
        kind = self.kind if again is None else again.purpose.value
        page = self._chosen_reply(
            f"{kind}_failure", call, failure_reason=error.text
        ) or self.pages.reply(
            call,
            "address_refused.html",
            sources=_redirect_sources(next_link),
            validation=again,
            error=error.text,
            kind=kind,
        )
        return attr.evolve(plain, body=page.body)

    def _chosen_reply(self, name: str, call: Call, **values: str) -> Optional[Reply]:
        """The administrator's page; None if there is none, or if it fails."""
        try:
            html = self._chosen(f"{name}.html", call.languages, **values)
        except Exception as error:  # whatever its author made it do
            _log.error(
                "{problem}: the built-in template is used instead",
                problem=fault(f"{name}.html", error),
            )
            return None
        return None if html is None else Reply(Page(html, ADMINISTRATORS_SOURCES))

    def _chosen(self, name: str, languages: Sequence[str], **values: str) -> Optional[str]:
        file = self.chosen.get(name)
        if file is None:
            return None
        return self.theirs.render_strictly(file, languages, server_name=self.server_name, **values)


def _redirect_sources(link: Optional[str]) -> Mapping[str, tuple[str, ...]]:
    """The sources that let a form redirect there: browsers apply ``form-action`` to redirects."""
    if link is None:
        return {}
    parts = urlsplit(link)
    is_plain = re.fullmatch(r"[0-9A-Za-z._:\[\]-]+", parts.netloc)
    return {"form-action": (f"{parts.scheme}://{parts.netloc}",)} if is_plain else {}
