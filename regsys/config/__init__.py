"""The configuration: YAML in, one frozen value out (contract B15).

``load`` reads files, ``parse`` a mapping. One ConfigError reports all problems. ``Config.unused``
lists the options that no section asks for.
"""

from __future__ import annotations

import os
import re
from typing import Any, Mapping, Optional, Sequence

import attr

from regsys.config.access_tokens import TokensConfig, read_tokens
from regsys.config.approval import ApprovalConfig, read_approval
from regsys.config.appservices import read_appservices
from regsys.config.audit import AuditConfig, read_audit
from regsys.config.blocking import BlockingConfig, read_blocking
from regsys.config.captcha import CaptchaConfig, read_captcha
from regsys.config.cross_checks import (
    address_warnings,
    check_guards,
    check_registration,
    check_shared_limits,
)
from regsys.config.database import DatabaseConfig, read_database, read_homeserver_database
from regsys.config.email import EmailConfig, read_email
from regsys.config.email_domains import EmailDomainsConfig, read_email_domains
from regsys.config.files import Merged, expanded, load_yaml
from regsys.config.homeserver import (
    DelegationConfig,
    HomeserverConfig,
    check_schema,
    is_delegated,
    read_delegation,
    read_homeserver,
)
from regsys.config.identity_servers import IdentityServersConfig, read_identity_servers
from regsys.config.limits import (
    LimitsConfig,
    Rate,
    SessionsConfig,
    read_limits,
    read_sessions,
    read_trusted_proxies,
)
from regsys.config.listeners import (
    ALL_ADDRESSES,
    Listener,
    TLSFiles,
    read_listeners,
    read_tls,
    read_worker_listeners,
)
from regsys.config.modules import ModulesConfig, read_modules
from regsys.config.names import NamesConfig, read_names
from regsys.config.newcomers import NewcomersConfig, read_newcomers
from regsys.config.pages import App, PagesConfig, read_pages
from regsys.config.passwords import PasswordPolicy, PasswordsConfig, read_passwords
from regsys.config.phones import PhonesConfig, read_phones
from regsys.config.proxies import ProxiesConfig, read_proxies
from regsys.config.redis import RedisConfig, read_redis
from regsys.config.registration import RegistrationConfig, read_oauth_only, read_registration
from regsys.config.rooms import RoomsConfig, read_rooms
from regsys.config.shadow_server import ShadowServerConfig, read_shadow_server
from regsys.config.terms import TermsConfig, read_terms
from regsys.config.threepids import AllowedThreepid, ThreepidsConfig, read_threepids
from regsys.config.unused_options import unread_options
from regsys.config.values import ConfigError, Reader, is_url
from regsys.config.workers import MasterConfig, WorkerConfig, is_worker, read_worker
from regsys.model import Appservice, Secret

__all__ = [
    "ALL_ADDRESSES",
    "AllowedThreepid",
    "App",
    "ApprovalConfig",
    "AuditConfig",
    "BlockingConfig",
    "CaptchaConfig",
    "Config",
    "ConfigError",
    "DatabaseConfig",
    "DelegationConfig",
    "EmailConfig",
    "EmailDomainsConfig",
    "HomeserverConfig",
    "IdentityServersConfig",
    "LimitsConfig",
    "Listener",
    "MasterConfig",
    "ModulesConfig",
    "NamesConfig",
    "NewcomersConfig",
    "PagesConfig",
    "PasswordPolicy",
    "PasswordsConfig",
    "PhonesConfig",
    "ProxiesConfig",
    "Rate",
    "RedisConfig",
    "RegistrationConfig",
    "RoomsConfig",
    "SessionsConfig",
    "ShadowServerConfig",
    "TLSFiles",
    "TermsConfig",
    "ThreepidsConfig",
    "TokensConfig",
    "WorkerConfig",
    "load",
    "load_yaml",
    "parse",
    "read",
]

_SERVER_NAME = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,230})(:[0-9]{1,5})?")


@attr.frozen(kw_only=True)
class Config:
    """The whole configuration, one attribute a section.

    ``public_baseurl`` ends with a slash. If ``tls`` is None, no listener has TLS. If ``captcha`` is
    None, there is no captcha. ``homeserver_database`` is the homeserver's own database. If
    ``homeserver`` is None, no homeserver runs beside this service as whose application service it
    acts; if ``delegation`` is None, it is no homeserver's auth service. If ``newcomers`` is None,
    nobody is suspended. If ``shadow_server`` is None, there is no parallel server.
    ``trusted_proxies``: addresses and networks as ``ipaddress.ip_network`` takes them. If ``redis``
    is None, Redis is not used. ``proxies``: those that outbound requests go through. If ``worker``
    is None, this is a main process; ``replication_secret`` is what its workers must show, None if
    it has none. If ``introspection_secret`` is None, token introspection over HTTP is off.
    ``log_config`` and ``pid_file`` are paths; None for the default logging and for no such file. If
    ``email`` is None, no mails are sent. ``template_directory`` is searched before our own
    templates; None if there is none. ``unused`` has the dotted names of options in the file that
    have no effect, ``warnings`` whole sentences for the log.
    """

    server_name: str
    public_baseurl: str
    listeners: tuple[Listener, ...]
    tls: Optional[TLSFiles]
    database: DatabaseConfig
    registration: RegistrationConfig
    approval: ApprovalConfig
    names: NamesConfig
    newcomers: Optional[NewcomersConfig]
    pages: PagesConfig
    audit: AuditConfig
    appservices: tuple[Appservice, ...]
    blocking: BlockingConfig
    captcha: Optional[CaptchaConfig]
    tokens: TokensConfig
    passwords: PasswordsConfig
    limits: LimitsConfig
    redis: Optional[RedisConfig]
    sessions: SessionsConfig
    terms: TermsConfig
    rooms: RoomsConfig
    modules: ModulesConfig
    email: Optional[EmailConfig]
    phones: PhonesConfig
    email_domains: EmailDomainsConfig
    threepids: ThreepidsConfig
    homeserver: Optional[HomeserverConfig]
    delegation: Optional[DelegationConfig]
    shadow_server: Optional[ShadowServerConfig]
    homeserver_database: DatabaseConfig
    identity_servers: IdentityServersConfig
    trusted_proxies: tuple[str, ...]
    proxies: ProxiesConfig
    worker: Optional[WorkerConfig]
    replication_secret: Optional[Secret]
    introspection_secret: Optional[Secret]
    log_config: Optional[str]
    pid_file: Optional[str]
    template_directory: Optional[str]
    unused: tuple[str, ...]
    warnings: tuple[str, ...]


def load(paths: Sequence[str], *, makes_files: bool = True) -> Config:
    """The configuration in these files and in the ``*.yaml`` files of these directories. A later
    file's top-level option replaces an earlier file's. Raises ConfigError.

    ``makes_files``: create the file that ``registration_shared_secret_path`` names if it is
    missing.
    """
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise TypeError(f"load({str(paths)!r}): pass a list of paths, load([{str(paths)!r}])")
    merged, problems = Merged(), []
    files, warnings = expanded(paths)
    merged.warnings += warnings
    for path in files:
        try:
            merged.add(path, load_yaml(path))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems, merged.warnings)
    return _checked(Reader(merged.data, makes_files=makes_files), merged.warnings)


def parse(data: Mapping[str, Any]) -> Config:
    """The configuration in this mapping, as YAML gives it. Raises ConfigError."""
    if not isinstance(data, Mapping):
        raise TypeError(
            f"parse(…): a {type(data).__name__} is no mapping of options: pass a dict, or let"
            " load([…]) read files"
        )
    return _checked(Reader(data), ())


def _checked(reader: Reader, warnings: Sequence[str]) -> Config:
    config = read(reader)
    if reader.problems:
        _, slips = unread_options(reader)
        raise ConfigError(reader.problems, [*warnings, *slips])
    return attr.evolve(config, warnings=(*warnings, *config.warnings))


def read(reader: Reader) -> Config:
    """The configuration in the reader's mapping; invalid unless ``reader.problems`` is empty."""
    server_name = _read_server_name(reader)
    replication_secret = reader.secret("worker_replication_secret")
    of_worker = "worker_" if is_worker(reader) else ""
    if of_worker:
        listeners = read_worker_listeners(reader)
    else:
        listeners = read_listeners(reader, has_secret=replication_secret is not None)
    database = read_database(reader)
    has_auth_service = read_oauth_only(reader)
    delegation = read_delegation(reader)
    oauth_only = has_auth_service and delegation is None
    registration = read_registration(reader, oauth_only)
    if delegation is not None:
        registration = attr.evolve(registration, allow_guest_access=False)
    waits, newcomers = read_newcomers(
        reader.section("regsys").section("newcomers"),
        is_delegated=is_delegated(reader.section("regsys").section("homeserver")),
        waits=registration.requires_approval,
    )
    registration = attr.evolve(registration, requires_approval=waits)
    tokens = read_tokens(reader)
    trusted_proxies = read_trusted_proxies(reader)
    template_directory = _read_template_directory(reader.section("templates"))
    homeserver = read_homeserver(reader.section("regsys").section("homeserver"))
    email = read_email(reader, template_directory)
    phones = read_phones(reader)
    threepids = read_threepids(
        reader,
        has_mails=email is not None,
        has_phones=phones.can_validate,
        oauth_only=oauth_only,
    )
    config = Config(
        server_name=server_name,
        public_baseurl=_read_public_baseurl(reader, server_name),
        listeners=listeners,
        tls=read_tls(reader, listeners),
        database=database,
        registration=registration,
        approval=read_approval(
            reader.section("regsys").section("approval"),
            requires_approval=registration.requires_approval,
            has_mails=email is not None,
        ),
        newcomers=newcomers,
        names=read_names(reader.section("regsys").section("names")),
        pages=read_pages(reader.section("regsys").section("pages"), server_name),
        audit=read_audit(reader.section("regsys").section("audit")),
        appservices=read_appservices(
            reader, server_name, has_auth_service, homeserver.as_token if homeserver else None
        ),
        blocking=read_blocking(reader),
        captcha=read_captcha(reader),
        tokens=tokens,
        passwords=read_passwords(reader, oauth_only),
        limits=read_limits(reader),
        redis=read_redis(reader),
        sessions=read_sessions(reader),
        terms=read_terms(reader, listeners),
        rooms=read_rooms(reader),
        modules=read_modules(reader),
        email=email,
        phones=phones,
        email_domains=read_email_domains(reader.section("regsys").section("email_domains")),
        threepids=threepids,
        homeserver=homeserver,
        delegation=delegation,
        shadow_server=read_shadow_server(reader.section("shadow_server")),
        homeserver_database=read_homeserver_database(reader),
        identity_servers=read_identity_servers(reader),
        trusted_proxies=trusted_proxies,
        proxies=read_proxies(reader),
        worker=read_worker(reader, replication_secret, database),
        replication_secret=replication_secret,
        introspection_secret=reader.section("regsys").secret("introspection_secret"),
        log_config=reader.text(f"{of_worker}log_config"),
        pid_file=reader.text(f"{of_worker}pid_file"),
        template_directory=template_directory,
        unused=(),
        warnings=(),
    )
    if delegation is not None:
        check_schema(reader, database)
    check_guards(reader)
    check_registration(reader, registration, tokens, threepids)
    check_shared_limits(reader, config.database, config.limits, config.redis)
    unused, slips = unread_options(reader)
    # Last, because the other warnings matter more where the proxy overwrites the header.
    addresses = address_warnings(listeners, trusted_proxies)
    return attr.evolve(config, unused=unused, warnings=(*reader.warnings, *slips, *addresses))


def _read_server_name(reader: Reader) -> str:
    name, mend = reader.text("server_name"), "write the part after the colon of your user IDs"
    if reader.data.get("server_name") in (None, ""):
        reader.problem("server_name", "missing", f"{mend}, such as example.com")
    elif name is not None and not _SERVER_NAME.fullmatch(name):
        reader.problem("server_name", "not a server name", f"{mend}, such as example.com", name)
    return name or ""


def _read_template_directory(section: Reader) -> Optional[str]:
    path = section.text("custom_template_directory")
    if path is not None and not os.path.isdir(path):
        mend = "make it, or leave the option out"
        section.problem("custom_template_directory", "not a directory", mend, path)
    return path


def _read_public_baseurl(reader: Reader, server_name: str) -> str:
    url = reader.text("public_baseurl")
    if url is None:
        return f"https://{server_name}/"
    if not is_url(url) or "?" in url or "#" in url:
        mend = "write where clients reach you, such as https://matrix.example.com/"
        reader.problem("public_baseurl", "not the address of a website", mend, url)
    return url if url.endswith("/") else f"{url}/"
