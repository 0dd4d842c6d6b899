"""Phone numbers: who proves them (BEHAVIOUR B7.8, B15)."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.config.values import Reader, is_url


@attr.frozen(kw_only=True)
class PhonesConfig:
    """``identity_server``: the URL of the one that sends codes and takes them back, without a
    slash at its end; None: there is none."""

    identity_server: Optional[str] = None

    @property
    def can_prove(self) -> bool:
        """Whether there is a way to prove a number."""
        return self.identity_server is not None


def read_phones(reader: Reader) -> PhonesConfig:
    return PhonesConfig(identity_server=_read_identity_server(reader))


def _read_identity_server(reader: Reader) -> Optional[str]:
    delegates = reader.section("account_threepid_delegates")
    if delegates.take("email"):
        mend = "take it away, and set the email section: mails are sent from here alone"
        delegates.problem("email", "no other server confirms email addresses", mend)
    url = delegates.text("msisdn")
    if url is not None and (not is_url(url) or "?" in url or "#" in url):
        mend = "write where the identity server answers, such as https://id.example.com"
        delegates.problem("msisdn", "not the address of a website", mend, url)
        return None
    return None if url is None else url.rstrip("/")
