"""The homeserver beside this service, where post-registration actions take place."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.config.values import Reader, is_given, is_url
from regsys.model import Secret


@attr.frozen(kw_only=True)
class HomeserverConfig:
    """``url``: that of its client-server API, without a trailing slash. ``as_token``: our token as
    one of its application services."""

    url: str
    as_token: Secret


def read_homeserver(section: Reader) -> Optional[HomeserverConfig]:
    """``regsys.homeserver``; None if it is not set."""
    url, as_token = section.text("url"), section.secret("as_token")
    names = ("url", "as_token", "as_token_path")
    given = [name for name in names if is_given(section.data.get(name))]
    if url is not None and (not is_url(url) or "?" in url or "#" in url or "@" in url):
        mend = "write where its client-server API answers, such as http://localhost:8008"
        section.problem("url", "not the address of a homeserver", mend)
    if as_token is not None and not _fits_a_header(as_token.reveal()):
        mend = "write the as_token as it stands in the registration file"
        section.problem("as_token", "has a space or an odd character in it", mend)
    if given and "url" not in given:
        mend = "write where its client-server API answers, such as http://localhost:8008"
        section.problem("url", "missing, but there is an as_token", mend)
    if given == ["url"]:
        mend = "write the as_token of the registration file that the homeserver reads"
        section.problem("as_token", "missing: without it the homeserver does not know us", mend)
    if url is None or as_token is None:
        return None
    return HomeserverConfig(url=url.rstrip("/"), as_token=as_token)


def _fits_a_header(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token
