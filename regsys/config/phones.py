"""Phone numbers: how they are validated (contract B7.8, B15)."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr

from regsys.config.values import Reader, is_url, knows_only
from regsys.model import Secret

# What a gateway gets by default.
FIELDS = {"to": "%(number)s", "text": "%(text)s"}


@attr.frozen(kw_only=True)
class SmsConfig:
    """``url``: where the gateway takes messages; None if the embedder sends them. ``fields``: the
    form, or the JSON body, which may nest; in its texts ``%(number)s`` stands for the number with
    its ``+`` and ``%(text)s`` for the message. ``authorization``: the value of the Authorization
    header; None if there is none."""

    url: Optional[str] = None
    as_form: bool = False
    fields: Mapping[str, Any] = attr.field(factory=lambda: dict(FIELDS))
    authorization: Optional[Secret] = attr.field(default=None, repr=False)


@attr.frozen(kw_only=True)
class PhonesConfig:
    """``identity_server``: the URL of the one that sends and checks codes for us, without a
    trailing slash; ``sms``: how we send codes ourselves. Each is None if it is not used."""

    identity_server: Optional[str] = None
    sms: Optional[SmsConfig] = None

    @property
    def can_validate(self) -> bool:
        """Whether phone numbers can be validated."""
        return self.identity_server is not None or self.sms is not None


def read_phones(reader: Reader) -> PhonesConfig:
    server, sms = _read_identity_server(reader), _read_sms(reader.section("regsys").section("sms"))
    if server is not None and sms is not None:
        mend = "keep one of the two"
        reader.problem("regsys.sms", "account_threepid_delegates.msisdn sends codes, too", mend)
    return PhonesConfig(identity_server=server, sms=sms)


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


def _read_sms(section: Reader) -> Optional[SmsConfig]:
    url = section.text("url")
    is_on = section.flag("enabled", default=url is not None)
    if url is not None and not is_url(url):
        mend = "write where the gateway takes messages, such as https://sms.example.com/send"
        section.problem("url", "not the address of a website", mend)
    as_form = section.choice("format", ("json", "form")) == "form"
    fields = _read_fields(section, as_form)
    authorization = section.secret("authorization")
    if authorization is not None and not authorization.reveal().isprintable():
        section.problem("authorization", "has a control character", "take it out")
    if not is_on:
        return None
    return SmsConfig(url=url, as_form=as_form, fields=fields, authorization=authorization)


def _read_fields(section: Reader, as_form: bool) -> Mapping[str, Any]:
    fields = section.take("fields")
    if fields is None:
        return dict(FIELDS)
    texts = _texts(fields) if isinstance(fields, dict) else []
    flat = all(isinstance(item, str) for item in fields.values()) if texts else False
    if not texts or (as_form and not flat):
        kind = "a mapping of names to texts" if as_form else "a mapping"
        section.problem("fields", f"not {kind}", "write what the gateway's documents ask for")
    elif not all(knows_only(text, "number", "text") for text in texts):
        mend = "use %(number)s and %(text)s alone, and %% for a percent sign"
        section.problem("fields", "has an unknown %", mend)
    elif not all(any(f"%({name})s" in text for text in texts) for name in ("number", "text")):
        section.problem("fields", "lacks %(number)s or %(text)s", "write both into some field")
    else:
        return {**fields}
    return dict(FIELDS)


def _texts(template: Any) -> list[str]:
    """All texts in it, however deep."""
    if isinstance(template, dict):
        template = list(template.values())
    if isinstance(template, list):
        return [text for item in template for text in _texts(item)]
    return [template] if isinstance(template, str) else []
