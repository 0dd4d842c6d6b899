"""The parallel server where each account is registered, too (contract B12.1)."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.config.values import Reader, fits_a_header, is_given, is_url
from regsys.model import Secret

_URL_MEND = "write where its client-server API answers, such as https://shadow.example.com"


@attr.frozen(kw_only=True)
class ShadowServerConfig:
    """``url``: where its client-server API answers, without a trailing slash. ``as_token``: our
    token as one of its application services. ``server_name``: what its user IDs end with; None if
    nobody has said it."""

    url: str
    as_token: Secret
    server_name: Optional[str] = None


def read_shadow_server(section: Reader) -> Optional[ShadowServerConfig]:
    """``shadow_server``; None if it is not set."""
    url, as_token, name = section.text("hs_url"), section.secret("as_token"), section.text("hs")
    if url is not None and (not is_url(url) or "?" in url or "#" in url or "@" in url):
        section.problem("hs_url", "not the address of a homeserver", _URL_MEND)
    if as_token is not None and not fits_a_header(as_token.reveal()):
        mend = "write the as_token as it stands in the registration file there"
        section.problem("as_token", "has a space or an odd character in it", mend)
    names = ("hs_url", "hs", "as_token", "as_token_path")
    given = {option for option in names if is_given(section.data.get(option))}
    if given and "hs_url" not in given:
        section.problem("hs_url", "missing", f"{_URL_MEND}, or leave the section out")
    if given and not given & {"as_token", "as_token_path"}:
        mend = "write the as_token of a registration file that the shadow server reads"
        section.problem("as_token", "missing: without it nobody can be registered there", mend)
    if url is None or as_token is None:
        return None
    return ShadowServerConfig(url=url.rstrip("/"), as_token=as_token, server_name=name)
