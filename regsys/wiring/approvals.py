"""What approval of new accounts is made of, where we keep the accounts and write them."""

from __future__ import annotations

from typing import Iterator, Mapping, Optional

import attr

from regsys.accounts.approval_notices import ApprovalMailer, ApprovalWatch
from regsys.accounts.approvals import Approvals
from regsys.client_api.credentials import PasswordCheck
from regsys.http import Endpoint
from regsys.interfaces import IAuth
from regsys.jobs import Handler
from regsys.storage.administrator_sessions import AdministratorSessionStore
from regsys.storage.approval_decisions import DECISION_MAIL
from regsys.storage.approvals import WAITING_MAIL
from regsys.web import approvals as approvals_api
from regsys.web.approvals_page import PATH, ApprovalsPage
from regsys.web.pages import Pages
from regsys.wiring import validations
from regsys.wiring.parts import Parts
from regsys.wiring.stores import OwnTables

# Where no account is decided about.
NO_MAILS: Mapping[str, Optional[Handler]] = {DECISION_MAIL: None, WAITING_MAIL: None}


@attr.frozen(kw_only=True)
class ApprovalParts:
    approvals: Approvals
    watch: ApprovalWatch
    sessions: AdministratorSessionStore
    mailer: Optional[ApprovalMailer]

    @classmethod
    def of(cls, parts: Parts, own: OwnTables, approvals: Approvals) -> ApprovalParts:
        config, store = parts.config, own.approvals
        return cls(
            approvals=approvals,
            watch=ApprovalWatch(
                store=store,
                config=config.approval,
                start_jobs=parts.held_jobs.put,
                report=parts.process.metrics.approvals_waiting,
                clock=parts.clock,
            ),
            sessions=own.administrator_sessions,
            mailer=_mailer(parts, own),
        )

    def handlers(self) -> Mapping[str, Optional[Handler]]:
        """What runs the jobs; they wait if there is no mail server any more."""
        if self.mailer is None:
            return NO_MAILS
        return {
            DECISION_MAIL: self.mailer.tell_decision,
            WAITING_MAIL: self.mailer.tell_administrator,
        }

    def endpoints(
        self, parts: Parts, auth: IAuth, passwords: Optional[PasswordCheck], pages: Pages
    ) -> Iterator[Endpoint]:
        """The page only where accounts wait by configuration, and administrators have passwords."""
        config = parts.config
        yield from approvals_api.endpoints(self.approvals, auth, config.server_name)
        is_used = config.registration.requires_approval or config.approval.notify
        if is_used and passwords is not None and config.passwords.login_enabled:
            yield ApprovalsPage(
                approvals=self.approvals,
                passwords=passwords,
                sessions=self.sessions,
                pages=pages,
                server_name=config.server_name,
                public_baseurl=config.public_baseurl,
                clock=parts.clock,
                secret=parts.process.macaroon_secret,
            ).endpoint()


def _mailer(parts: Parts, own: OwnTables) -> Optional[ApprovalMailer]:
    config = parts.config
    if config.email is None:
        return None
    return ApprovalMailer(
        mails=validations.composer(parts, config.email),
        deliver=validations.delivery(parts, config.email),
        queue=own.approvals.queue,
        language=config.approval.notify_language,
        page=f"{config.public_baseurl}{PATH[1:]}",
    )
