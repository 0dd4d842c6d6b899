"""Mails over SMTP: one connection a mail, each of its steps with a deadline (threat C8)."""

from __future__ import annotations

from typing import Any, Awaitable, Optional, TypeVar

import attr
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from regsys.config.email import EmailConfig
from regsys.errors import MailDeferred
from regsys.model.identity import masked
from regsys.model.threepids import Mail
from regsys.outbound.email_message import EnvelopeAddress, MessageBuilder
from regsys.outbound.hosts import HostEndpoint, tls_to
from regsys.outbound.smtp import Account, SMTPSession

# Together less than a job's lease: no other process claims a mail that this one is still sending.
PLACE_S = 20.0
WHOLE_S = 30.0
CONNECT_S = 10.0
# The most connections at a time, even in a burst of registrations or if the server stalls.
AT_ONCE = 10

_log = Logger()
_T = TypeVar("_T")


@attr.frozen(kw_only=True)
class SMTPMailer:
    """``endpoint``: the mail server; ``tls``: the options for STARTTLS, None to use none.

    Tries once; the caller decides when to try again.
    """

    config: EmailConfig
    message_builder: MessageBuilder
    endpoint: IStreamClientEndpoint
    tls: Any
    clock: IReactorTime
    places: DeferredSemaphore = attr.field(factory=lambda: DeferredSemaphore(AT_ONCE))

    @classmethod
    def on(
        cls, reactor: Any, config: EmailConfig, server_name: str, trust_root: Any = None
    ) -> SMTPMailer:
        """A mailer with real connections. ``trust_root``: None for this machine's authorities."""
        tls = tls_to(config.tls_name, trust_root)
        endpoint = HostEndpoint(reactor, config.host, config.port, timeout=CONNECT_S)
        return cls(
            config=config,
            message_builder=MessageBuilder(
                server_name=server_name,
                from_name=config.from_name,
                from_address=config.from_address,
            ),
            endpoint=wrapClientTLS(tls, endpoint) if config.force_tls else endpoint,
            tls=tls if config.starttls else None,
            clock=reactor,
        )

    async def send(self, mail: Mail) -> None:
        """Hand the mail to the server, which takes responsibility for it.

        Ends within ``regsys.model.JOB_LEASE_MS``, so that a job can wait for it. Raises
        MailDeferred if the mail should be sent again (it may have gone out all the same: the
        server's answer was lost), MailRefused if that would be useless.
        """
        to = EnvelopeAddress.parse(mail.to)
        message = self.message_builder.message(mail, to, self.clock.seconds())
        await self._within(PLACE_S, self.places.acquire(), "too many mails are waiting for it")
        try:
            delivering = Deferred.fromCoroutine(self._deliver(to, message))
            await self._within(WHOLE_S, delivering, "it took too long")
        finally:
            self.places.release()
        _log.info(
            "mail {message_id} for {to} handed to {host}",
            message_id=mail.message_id,
            to=masked(mail.to),
            host=self.config.host,
        )

    async def _deliver(self, to: EnvelopeAddress, message: bytes) -> None:
        session = SMTPSession(
            sender=self.message_builder.from_address,
            to=to,
            message=message,
            introduces_as=self.message_builder.host,
            account=self._account(),
            tls=self.tls,
            tls_name=self.config.tls_name,
            is_encrypted=self.config.force_tls,
            require_tls=self.config.require_tls,
            clock=self.clock,
        )
        factory = Factory.forProtocol(lambda: session)
        factory.noisy = False
        try:
            connecting = self.endpoint.connect(factory)
            await self._within(CONNECT_S, connecting, "it does not answer")
            await session.done
        except (ConnectError, OSError) as error:
            raise _deferred(str(error)) from None
        finally:
            session.close()

    def _account(self) -> Optional[Account]:
        config = self.config
        if config.user is None or config.password is None:
            return None
        return Account(config.user, config.password, may_go_plain=config.plain_login)

    def _within(self, seconds: float, doing: Deferred[_T], otherwise: str) -> Awaitable[_T]:
        def too_slow(result: _T | Failure, timeout: float) -> _T:
            raise _deferred(f"{otherwise} ({timeout:g} s)")

        return doing.addTimeout(seconds, self.clock, too_slow)


def _deferred(reason: str) -> MailDeferred:
    return MailDeferred(f"The mail server cannot be used: {reason}")
