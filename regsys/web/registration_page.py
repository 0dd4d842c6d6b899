"""GET /_matrix/static/client/register/: a page for registering in a browser (contract B13)."""

from __future__ import annotations

from typing import Iterable, Mapping
from urllib.parse import urlsplit

import attr

from regsys.config import Config
from regsys.errors import RegistrationDisabled
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IStage
from regsys.templates.static_files import static_files
from regsys.threepids.addresses import countries
from regsys.web.pages import Pages

PATH = "/_matrix/static/client/register/"
# Its scripts are ours, and send requests to us only.
OWN_SOURCES: Mapping[str, tuple[str, ...]] = {"script-src": ("'self'",), "connect-src": ("'self'",)}
# The modules of register.js: the browser loads them at once, not each when another one imports it.
SCRIPTS = tuple(name for name in static_files() if name.startswith("register/"))


@attr.frozen
class ClientApp:
    """A web app for which the account is good; ``name`` is what people call it."""

    name: str
    url: str


def client_apps(config: Config) -> tuple[ClientApp, ...]:
    """The apps that the end of a registration leads to, the best one first."""
    url = config.email and config.email.client_base_url
    return (ClientApp(urlsplit(url).netloc, url),) if url else ()


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
