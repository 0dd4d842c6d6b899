"""User-interactive authentication: its sessions, its stages, and what these stand on."""

from __future__ import annotations

from typing import Any, Awaitable, Mapping, Optional

import attr
from zope.interface import Attribute, Interface

from regsys.model import (
    Client,
    UIASession,
)


@attr.frozen(kw_only=True)
class StageContext:
    """What a stage may know of the request it is tried in."""

    session: UIASession
    client: Client


@attr.frozen(kw_only=True)
class StagePage:
    """How a person passes a stage in a browser (contract B8.10): the inside of a form.

    ``template`` is a file name among the templates; it sees ``stage``, ``params`` (as
    ``IStage.params`` gives them, {} for None), ``session_id`` and ``failure`` (a sentence, or
    None), and may set ``title``, the page's heading (docs/pages.md).
    ``fields`` tells, for each field of the form, its key in the ``auth`` dict; all of them
    are required. ``sources`` are what the page may load beside our own files: sources by
    directive of the Content-Security-Policy.
    """

    template: str
    fields: Mapping[str, str] = attr.field(factory=dict)
    sources: Mapping[str, tuple[str, ...]] = attr.field(factory=dict)


class IStage(Interface):
    """One stage of user-interactive authentication. Bring your own: see docs/embedding.md."""

    type: str = Attribute("The stage's name in flows, such as ``m.login.dummy``.")
    page: Optional[StagePage] = Attribute(
        "How a person passes it in a browser; None: there is nothing to do in one."
    )

    def params(session: UIASession) -> Optional[Mapping[str, Any]]:
        """What a client must know to attempt the stage, for ``params``; None: nothing."""

    def check(auth: Mapping[str, Any], context: StageContext) -> Awaitable[Any]:
        """Judge the client's ``auth`` dict (any JSON may be in it).

        Returns what is to be remembered (JSON; True if there is nothing to say). Raises
        StageFailed(errcode, text) when it is not passed, Unavailable when a service that
        is needed cannot be asked: the session lives on either way.
        """
