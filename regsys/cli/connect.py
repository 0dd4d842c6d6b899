"""check-config --connect: whether the configured database and servers can be reached from here.

Nothing is changed anywhere: no table is created, no mail or message sent.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from typing import Any, Callable, Optional, Sequence

import attr
from twisted.internet import task
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from regsys.cli import connect_database, connect_delegation
from regsys.cli.peers import DEADLINE_S, NotAsked, Peer, Unreachable, without_secrets
from regsys.config import (
    CaptchaConfig,
    Config,
    EmailConfig,
    HomeserverConfig,
    RedisConfig,
    ShadowServerConfig,
)
from regsys.errors import Unavailable
from regsys.model.buckets import Bucket
from regsys.model.login_types import APPLICATION_SERVICE
from regsys.outbound import redis
from regsys.outbound.http import HTTPClient, NoAnswer
from regsys.outbound.synapse_requests import errcode
from regsys.wiring.process import CannotStart


@attr.frozen
class Found:
    """``reached``: the peers that can be used, with ``warnings``; ``problems`` and ``not_asked``: a
    sentence for each that cannot, and for each of which nothing can be told now."""

    reached: list[str] = attr.field(factory=list)
    warnings: list[str] = attr.field(factory=list)
    problems: list[str] = attr.field(factory=list)
    not_asked: list[str] = attr.field(factory=list)


def ask_all(config: Config) -> Found:
    """Ask all peers. Runs the reactor.

    KeyboardInterrupt if the reactor was stopped by a signal."""
    found = Found()
    has_ended = False

    async def run(reactor: Any) -> None:
        nonlocal has_ended
        peers = _peers(config, reactor)
        asked = [Deferred.fromCoroutine(_asked(peer)) for peer in peers]
        answers: Any = await DeferredList(asked, consumeErrors=True)
        for peer, (is_there, result) in zip(peers, answers, strict=True):
            if is_there:
                found.reached.append(f"{peer.option} ({peer.place})")
                found.warnings.extend(f"{peer.option}: {sentence}" for sentence in result or ())
                continue
            is_open = isinstance(result.value, NotAsked)
            sentences = found.not_asked if is_open else found.problems
            sentences.append(f"{peer.option}: {peer.place}: {_reason(result)}")
        has_ended = True

    try:
        task.react(lambda reactor: Deferred.fromCoroutine(run(reactor)))
    except SystemExit as ended:
        if ended.code:
            raise
    if not has_ended:
        raise KeyboardInterrupt()
    return found


async def _asked(peer: Peer) -> Optional[Sequence[str]]:
    return await peer.ask()


def _reason(failure: Failure) -> str:
    error = failure.value
    if isinstance(error, (Unreachable, NotAsked, NoAnswer, CannotStart)):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _peers(config: Config, reactor: Any) -> list[Peer]:
    http = attr.evolve(HTTPClient.on(reactor, config.proxies), deadline_s=DEADLINE_S)
    email = config.email
    place = connect_database.where(config.database)
    peers = [Peer("database", place, lambda: _in_thread(connect_database.ask, config))]
    if email is not None:
        place = f"{email.host} port {email.port}"
        peers.append(Peer("email.smtp_host", place, lambda: _in_thread(_ask_smtp, email)))
    server, sms = config.phones.identity_server, config.phones.sms
    if server is not None:
        peers.append(_website("account_threepid_delegates.msisdn", server, http))
    if sms is not None and sms.url is not None:
        peers.append(_website("regsys.sms.url", sms.url, http))
    if config.captcha is not None and config.captcha.siteverify_api:
        peers.append(_captcha(config.captcha, http))
    default = config.identity_servers.default
    if default is not None:
        url = config.identity_servers.urls[default]
        peers.append(_website("default_identity_server", url, http))
    if config.homeserver is not None:
        peers.append(_homeserver(config.homeserver, http))
    if config.delegation is not None:
        peers += connect_delegation.peers(config, config.delegation, http)
    if config.shadow_server is not None:
        peers.append(shadow_server(config.shadow_server, http))
    if config.redis is not None:
        peers.append(_redis(config.redis, reactor))
    return peers


async def _in_thread(
    ask: Callable[[Any], Optional[Sequence[str]]], section: Any
) -> Optional[Sequence[str]]:
    return await deferToThread(ask, section)


def _ask_smtp(config: EmailConfig) -> None:
    """Connect up to the greeting, or to TLS if it is used, with the certificate checked as for
    mails."""
    context, place = ssl.create_default_context(), (config.host, config.port)
    name = config.tls_name.removesuffix(".")
    try:
        if config.force_tls:
            with (
                socket.create_connection(place, DEADLINE_S) as line,
                context.wrap_socket(line, server_hostname=name) as secured,
            ):
                if not secured.recv(3).startswith(b"220"):
                    raise Unreachable("it does not greet as mail servers do")
            return
        with smtplib.SMTP(*place, timeout=DEADLINE_S) as server:
            server.ehlo()
            if (config.starttls or config.require_tls) and server.has_extn("starttls"):
                code, _ = server.docmd("STARTTLS")
                if code != 220 or server.sock is None:
                    raise Unreachable(f"it answers {code} to STARTTLS")
                context.wrap_socket(server.sock, server_hostname=name).close()
            elif config.require_tls:
                raise Unreachable(
                    "it offers no STARTTLS, which email.require_transport_security asks for"
                )
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(
            f"its certificate is not good for {name}, the name of email.tlsname:"
            f" {error.verify_message}"
        ) from None
    except (OSError, smtplib.SMTPException) as error:
        raise Unreachable(str(error) or type(error).__name__) from None


def _website(option: str, url: str, http: HTTPClient) -> Peer:
    async def ask() -> None:
        # Any answer will do; OPTIONS sends no message and costs nothing.
        await http.send_json("OPTIONS", url, {})

    return Peer(option, without_secrets(url), ask)


def _captcha(config: CaptchaConfig, http: HTTPClient) -> Peer:
    option = "recaptcha_siteverify_api"
    if config.kind != "recaptcha":
        option = "regsys.captcha.siteverify_api"
    return _website(option, config.siteverify_api, http)


def _homeserver(config: HomeserverConfig, http: HTTPClient) -> Peer:
    async def ask() -> None:
        answer = await http.get(f"{config.url}/_matrix/client/versions", {})
        if answer.status != 200:
            raise Unreachable(f"it answers {answer.status}: does a homeserver answer there?")
        headers = {"Authorization": f"Bearer {config.as_token.reveal()}"}
        answer = await http.get(f"{config.url}/_matrix/client/v3/account/whoami", {}, headers)
        if answer.status == 401:
            raise Unreachable(
                "it does not know our as_token: is the registration file among its"
                " app_service_config_files, and was it started since?"
            )

    return Peer("regsys.homeserver.url", without_secrets(config.url), ask)


def shadow_server(config: ShadowServerConfig, http: HTTPClient) -> Peer:
    async def ask() -> None:
        # An empty name is nobody's, so that nothing is made.
        headers = {"Authorization": f"Bearer {config.as_token.reveal()}"}
        answer = await http.post_json(
            f"{config.url}/_matrix/client/r0/register", {"type": APPLICATION_SERVICE}, headers
        )
        if answer.status == 401:
            raise Unreachable(
                "it does not know our as_token: is the registration file among its"
                " app_service_config_files, and was it started since?"
            )
        if not 400 <= answer.status < 500 or errcode(answer) in (None, "M_UNRECOGNIZED"):
            raise Unreachable(f"it answers {answer.status}: does a homeserver answer there?")

    return Peer("shadow_server.hs_url", without_secrets(config.url), ask)


def _redis(config: RedisConfig, reactor: Any) -> Peer:
    async def ask() -> None:
        try:
            buckets = redis.RedisBuckets(redis.endpoint(config, reactor), config, reactor)
        except redis.UnusableFiles as error:
            raise Unreachable(f"the files for TLS cannot be used: {error}") from None
        try:
            await buckets.peek([Bucket("check-config", 1_000_000, 1)])
        except Unavailable as error:
            raise Unreachable(str(error.__cause__)) from None
        finally:
            buckets.close()

    return Peer("redis", config.path or f"{config.host} port {config.port}", ask)
