"""Master and workers: what each has of the calls between them."""

from __future__ import annotations

from typing import Callable, Optional

from regsys.accounts.handler import RegistrationHandler
from regsys.http import Endpoint
from regsys.interfaces.internal import IRegistrationWriter
from regsys.jobs import Announce, JobRunner
from regsys.replication.announcing import AnnouncedJobs
from regsys.replication.resource import MasterCalls
from regsys.replication.sender import Sender
from regsys.replication.writer import RemoteWriter, RowByCall
from regsys.wiring.parts import Parts

# Makes what workers call of a master's handler and runner of jobs.
ForWorkers = Callable[[RegistrationHandler, JobRunner], Endpoint]


def endpoint_for_workers(parts: Parts, writer: IRegistrationWriter) -> Optional[ForWorkers]:
    """None without the secret by which the master knows its workers."""
    secret = parts.config.replication_secret
    if secret is None:
        return None

    def endpoint(handler: RegistrationHandler, jobs: JobRunner) -> Endpoint:
        calls = MasterCalls(
            secret=secret,
            server_name=parts.config.server_name,
            writer=writer,
            count_and_register=handler.register_with_store,
            terms=lambda request, is_guest: parts.logins.terms(request, is_guest=is_guest),
            issue=parts.logins.issue,
            approved=not parts.config.registration.requires_approval,
            look_for_jobs=jobs.look_for,
            calls=parts.stores.calls,
            clock=parts.clock,
            finish_device=(
                None
                if parts.delegation is None
                else parts.delegation.provisioned_devices(parts.delegation.devices).finish
            ),
        )
        return calls.endpoint()

    return endpoint


def remote_writer(parts: Parts) -> RemoteWriter:
    """The writer of a worker."""
    assert parts.process.master is not None  # as of each worker's process
    sender = Sender(ask=parts.process.master.ask, clock=parts.clock)
    issue = parts.logins.issue
    return RemoteWriter(sender=sender, make_row=RowByCall(sender=sender, issue=issue), issue=issue)


def announced_jobs(parts: Parts) -> Announce:
    """What a worker tells its master of the jobs that it leaves."""
    assert parts.process.master is not None  # as of each worker's process
    return AnnouncedJobs(parts.process.master.ask)
