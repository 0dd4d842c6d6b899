"""GET /_matrix/static/client/register/: a page for registering in a browser (contract B13)."""

from __future__ import annotations

from typing import Iterable, Mapping, Optional
from urllib.parse import quote, urlencode, urlsplit

from regsys.config import App, Config
from regsys.errors import RegistrationDisabled
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IStage
from regsys.templates.static_files import static_files
from regsys.threepids.addresses import countries
from regsys.web.pages import Pages

PATH = "/_matrix/static/client/register/"
# What a query may have besides letters and digits (RFC 3986).
QUERY = "-._~!$&'()*+,;=:@/?%"
# Its scripts are ours, and send requests to us only.
OWN_SOURCES: Mapping[str, tuple[str, ...]] = {"script-src": ("'self'",), "connect-src": ("'self'",)}
# The modules of register.js: the browser loads them at once, not each when another one imports it.
SCRIPTS = tuple(name for name in static_files() if name.startswith("register/"))


def client_apps(config: Config) -> tuple[App, ...]:
    """The apps that the end of a registration leads to, the best one first."""
    url = config.email and config.email.client_base_url
    return config.pages.apps or ((App.at(url),) if url else ())


def registration_page(config: Config, stages: Iterable[IStage], pages: Pages) -> Endpoint:
    """``stages``: those of all flows. The page includes their forms, so it may load what any of
    them needs."""
    sources = dict(OWN_SOURCES)
    for stage in stages:
        for directive, more in stage.page.sources.items() if stage.page else ():
            sources[directive] = (*sources.get(directive, ()), *more)

    async def get(call: Call) -> Reply:
        if not config.registration.enabled:
            raise RegistrationDisabled()
        return pages.reply(
            call,
            "register.html",
            sources=sources,
            server_name=config.server_name,
            public_baseurl=config.public_baseurl,
            policy=config.passwords.policy,
            proves_email="email" in config.threepids.offered,
            countries=countries() if "msisdn" in config.threepids.offered else (),
            names_are_secret=config.registration.inhibit_user_in_use_error,
            scripts=SCRIPTS,
            clients=client_apps(config),
            admin_contact=config.blocking.admin_contact,
        )

    return Endpoint("registration_page", (PATH,), {"GET": pages.handler(get)})


def registration_page_url(config: Config, token: Optional[str] = None) -> str:
    """Where people find the page; with a registration token it is filled in there."""
    query = "" if token is None else f"?{urlencode({'token': token})}"
    return f"{config.public_baseurl}{PATH[1:]}{query}"


def redirects(config: Config) -> Endpoint:
    """Leads from where people look for the page to it. They are for a server of our own: where a
    homeserver mounts us, its root is the homeserver's."""
    target = urlsplit(registration_page_url(config)).path

    async def get(call: Call) -> Reply:
        query = call.uri.partition("?")[2]
        # A client may send bytes that belong in no header.
        location = f"{target}?{quote(query, safe=QUERY)}" if query else target
        return Reply(status=308, headers={"Location": location})

    return Endpoint("registration_redirects", ("/", PATH[:-1], "/_matrix/static/"), {"GET": get})
