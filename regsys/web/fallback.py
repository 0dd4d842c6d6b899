"""The fallback pages, on which a user passes a stage in any browser (contract B8.10, B16.18)."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.accounts.handler import RegistrationHandler
from regsys.errors import LimitExceeded, MissingParam, Unavailable, UnknownPath, sentence
from regsys.http import Call, Endpoint, Reply
from regsys.http.reply import refusal
from regsys.interfaces import IStage, StagePage
from regsys.model import UIASession
from regsys.uia.sessions import UserInteractiveAuth, is_passed
from regsys.web.pages import Pages
from regsys.web.responses import client_paths

NOT_ALL = sentence("Something is missing: please fill in the whole form.")


def fallback(handler: RegistrationHandler, uia: UserInteractiveAuth, pages: Pages) -> Endpoint:
    passed_sources = {"script-src": (pages.script_source("passed.js"),)}

    async def get(call: Call) -> Reply:
        stage, page = _stage(call)
        session = await uia.open(call.required_query("session"))
        if is_passed(session, stage.type):
            return _passed(call)
        return _form(call, stage, page, session)

    async def post(call: Call) -> Reply:
        await handler.check_registration_ratelimit(call.client.address)
        stage, page = _stage(call)
        form = call.form()
        session = await uia.open(form.get("session") or call.required_query("session"))
        if is_passed(session, stage.type):
            return _passed(call)
        if not form.keys() >= page.fields.keys():
            # Browsers leave out an unticked box, and some do not enforce ``required``.
            again = _form(call, stage, page, session, NOT_ALL)
            return attr.evolve(refusal(MissingParam()), body=again.body)
        fields = {key: form[name] for name, key in page.fields.items()}
        try:
            progress = await uia.step(
                session.session_id, stage.type, fields, call.client, call.gone
            )
        except (LimitExceeded, Unavailable) as error:
            # The same form again, to be sent later.
            again = _form(call, stage, page, session, error.text)
            return attr.evolve(refusal(error), body=again.body)
        if progress.failure is not None:
            again = _form(call, stage, page, session, progress.failure.text)
            return attr.evolve(
                again, refused=f"{progress.failure.errcode}: {progress.failure.text}"
            )
        return _passed(call)

    def _stage(call: Call) -> tuple[IStage, StagePage]:
        stage = uia.stages.get(call.path_args["stage"])
        if stage is None or stage.page is None:
            raise UnknownPath("There is no page for this step: your app does it itself.")
        return stage, stage.page

    def _form(
        call: Call,
        stage: IStage,
        page: StagePage,
        session: UIASession,
        failure: Optional[str] = None,
    ) -> Reply:
        return pages.reply(
            call,
            "stage.html",
            sources=page.sources,
            page=page,
            stage=stage,
            params=stage.params(session) or {},
            session_id=session.session_id,
            failure=failure,
        )

    def _passed(call: Call) -> Reply:
        return pages.reply(call, "passed.html", sources=passed_sources)

    handlers = {"GET": pages.handler(get), "POST": pages.handler(post)}
    return Endpoint("fallback", client_paths("auth/{stage}/fallback/web"), handlers)
