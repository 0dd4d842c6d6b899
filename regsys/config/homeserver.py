"""The homeserver beside this service: where post-registration actions take place, or whose auth
service this is."""

from __future__ import annotations

from typing import Mapping, Optional
from urllib.parse import urlsplit

import attr

from regsys.config.database import DatabaseConfig
from regsys.config.values import Reader, fits_a_header, is_given, is_on, is_url
from regsys.model import Secret

_URL_MEND = "write where its client-server API answers, such as http://localhost:8008"


@attr.frozen(kw_only=True)
class HomeserverConfig:
    """``url``: that of its client-server API, without a trailing slash. ``as_token``: our token as
    one of its application services."""

    url: str
    as_token: Secret


@attr.frozen(kw_only=True)
class DelegationConfig:
    """The homeserver whose auth service this is (contract B17). ``url``: where it answers, without
    a trailing slash. ``secret``: what it and we show each other. ``endpoint``: where its own
    configuration says that it finds us."""

    url: str
    secret: Secret
    endpoint: Optional[str] = None


def read_homeserver(section: Reader) -> Optional[HomeserverConfig]:
    """``regsys.homeserver``; None if it is not set, or if we are its auth service."""
    url, as_token = _read_url(section), section.secret("as_token")
    if is_delegated(section):
        if as_token is not None:
            section.warnings.append(
                f"{section.path}.as_token has no effect with {section.path}.delegated: take its"
                " registration file out of the homeserver's app_service_config_files."
            )
        return None
    names = ("url", "as_token", "as_token_path")
    given = [name for name in names if is_given(section.data.get(name))]
    if as_token is not None and not fits_a_header(as_token.reveal()):
        mend = "write the as_token as it stands in the registration file"
        section.problem("as_token", "has a space or an odd character in it", mend)
    if given and "url" not in given:
        section.problem("url", "missing, but there is an as_token", _URL_MEND)
    if given == ["url"]:
        mend = (
            "write the as_token of the registration file that the homeserver reads, or delegated:"
            " true if regsys is its auth service (matrix_authentication_service)"
        )
        section.problem("as_token", "missing: without it the homeserver does not know us", mend)
    if url is None or as_token is None:
        return None
    return HomeserverConfig(url=url, as_token=as_token)


def is_delegated(section: Reader) -> bool:
    """Whether ``regsys.homeserver`` says that we are the homeserver's auth service."""
    return section.flag("delegated")


def read_delegation(reader: Reader) -> Optional[DelegationConfig]:
    """``matrix_authentication_service``, if we are that service; else None."""
    here = reader.section("regsys").section("homeserver")
    block = reader.section("matrix_authentication_service")
    if not is_delegated(here):
        # The block is about another service, and not for us to judge.
        for name in ("endpoint", "secret", "secret_path"):
            block.take(name)
        return None
    url, secret, endpoint = here.text("url"), block.secret("secret"), block.text("endpoint")
    if not block.flag("enabled"):
        mend = "set it to true, here and in the homeserver's file"
        block.problem("enabled", f"off, but {here.path}.delegated is true", mend)
    if url is None:
        here.problem("url", "missing, but delegated is true", _URL_MEND)
    if not any(is_given(block.data.get(name)) for name in ("secret", "secret_path")):
        mend = "write the secret of the homeserver's file, or its path as secret_path"
        block.problem("secret", f"missing, but {here.path}.delegated is true", mend)
    elif secret is not None and not fits_a_header(secret.reveal()):
        mend = "take a long random value of letters and digits, here and in the homeserver's file"
        block.problem("secret", "has a space or an odd character in it", mend)
    _warn_of_closed_doors(reader)
    _warn_of_another_port(reader, endpoint)
    if url is None or secret is None:
        return None
    return DelegationConfig(url=url.rstrip("/"), secret=secret, endpoint=endpoint)


def check_schema(reader: Reader, database: DatabaseConfig) -> None:
    """A problem if the homeserver, which connects by the same role, would find our tables first."""
    section = reader.section("regsys")
    role = reader.peek("database.args.user")
    if (
        database.engine == "postgres"
        and role == database.schema
        and not reader.peek("regsys.database")
    ):
        section.problem(
            "database_schema",
            "the name of the role by which the homeserver connects, which looks for tables there"
            " first, and would take ours for its own",
            "write another name",
            database.schema,
        )


def _warn_of_closed_doors(reader: Reader) -> None:
    """The homeserver's file must switch off what is done here: it may have switched us off."""
    second = "a second file for regsys alone (-c homeserver.yaml -c regsys.yaml)"
    if not is_on(reader.peek("enable_registration")):
        reader.warnings.append(
            "enable_registration is off, as the homeserver's file must say, so nobody can register"
            f" here either: set it to true in {second}, if people may register."
        )
    if reader.peek("password_config.enabled") is False:
        reader.warnings.append(
            "password_config.enabled is off, as the homeserver's file must say, so nobody can log"
            f" in here either: set it to true in {second}."
        )
    if reader.peek("allow_guest_access") is True:
        reader.warnings.append(
            "allow_guest_access has no effect: the homeserver has no guests while its accounts are"
            " regsys's."
        )


def _warn_of_another_port(reader: Reader, endpoint: Optional[str]) -> None:
    """The homeserver asks at the endpoint; on this machine that must be where this process listens,
    unless another one of ours does."""
    try:
        parts = urlsplit(endpoint or "")
        port = parts.port or {"https": 443}.get(parts.scheme, 80)
    except ValueError:
        return
    listeners = reader.peek("listeners")
    ours = [
        listener.get("port")
        for listener in (listeners if isinstance(listeners, list) else ())
        if isinstance(listener, Mapping) and listener.get("port")
    ]
    if parts.hostname in ("localhost", "127.0.0.1", "::1") and ours and port not in ours:
        here = ", ".join(map(str, ours))
        reader.warnings.append(
            f"matrix_authentication_service.endpoint: the homeserver will ask at port {port} of"
            f" this machine whose a token is, and regsys listens at {here}: write one of these"
            " there, unless another process of regsys, or a proxy, has that port."
        )


def _read_url(section: Reader) -> Optional[str]:
    url = section.text("url")
    if url is not None and (not is_url(url) or "?" in url or "#" in url or "@" in url):
        section.problem("url", "not the address of a homeserver", _URL_MEND)
    return None if url is None else url.rstrip("/")
