"""Several processes of one server in one test, over one database."""

from __future__ import annotations

from typing import Any, Callable, Optional

import attr
from twisted.internet.defer import Deferred, maybeDeferred

from regsys import http, wiring
from regsys.model.jobs import NewJob
from regsys.model.threepids import NewValidation
from regsys.storage.validations import ValidationStore
from regsys.testing import MemoryMails, memory_process
from regsys.wiring import subsystem
from tests.support.client import Answer, Client
from tests.support.question_stage import QuestionStage
from tests.uia.model import CLIENT_SECRET, FLOWS, LIFETIME_MS, VALIDATED, Attempt


class Process:
    """One of the processes over the database. While it hashes for a request that is ``held``, it
    gets no other request."""

    def __init__(self, machine: Any) -> None:
        self.held: Optional[Held] = None
        self.is_slow = False
        self.hash: Callable[[], None]
        self.subsystem = wiring.standalone(
            machine.config,
            machine.clock,
            process=memory_process(
                machine.case, machine.config, machine.clock, machine.database, self.run
            ),
            # No mail is sent: templates need not be compiled in each of hundreds of examples.
            hooks=subsystem.hooks(
                machine.clock, stages=[QuestionStage()], flows=FLOWS, mails=MemoryMails()
            ),
        )
        self.subsystem.hooks.spam.register("the machine", machine.check_spam)
        resource = self.subsystem.resource(client_address=http.first_forwarded)
        self.client = Client(machine.case, resource)

    def run(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        if not self.is_slow:
            return maybeDeferred(function, *args)
        hashing: Deferred[Any] = Deferred()
        self.hash = lambda: hashing.callback(function(*args))
        return hashing


@attr.frozen
class Held:
    """A request that waits for its hash, and the account that it is about to make."""

    started: Deferred[Answer]
    attempt: Attempt


def validate_addresses(machine: Any) -> None:
    """Validate the addresses of VALIDATED beforehand."""
    validations, now_ms = ValidationStore(machine.database), machine.model.now_ms
    for sid, address in VALIDATED.items():
        new = NewValidation(
            sid=sid,
            medium="email",
            address=address,
            client_secret=CLIENT_SECRET,
            # Two sessions of one address: the first is validated when the second is begun.
            send_attempt=1,
            job=NewJob(kind="nobody's"),
            now_ms=now_ms,
            until_ms=now_ms + LIFETIME_MS,
        )
        machine.wait(validations.begin(new))
        machine.wait(validations.confirm(sid, now_ms))
    # For as long as the machine runs.
    change = "UPDATE validations SET expires_ms = expires_ms * 2"
    machine.wait(machine.database.transaction("test", lambda txn: txn.run(change, ())))


def check_addresses(machine: Any) -> None:
    """Addresses and validations belong to the accounts and sessions of the model."""
    found = machine.rows("SELECT address, user_id FROM threepids")
    owners = {address: user_id[1:].partition(":")[0] for address, user_id in found}
    assert owners == machine.model.owners
    claims = machine.rows("SELECT sid, claimed_by FROM validations WHERE claimed_by IS NOT NULL")
    assert dict(map(tuple, claims)) == machine.model.claimed
