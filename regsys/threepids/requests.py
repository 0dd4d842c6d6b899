"""The bodies of requests to validate an address (contract B7.1, B7.4-6)."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr

from regsys import json_body
from regsys.config import ThreepidsConfig
from regsys.model.canonical_threepids import EMAIL, MAX_EMAIL, canonical_email, canonical_msisdn
from regsys.threepids.addresses import check_assignable, check_client_secret, next_link

# Longer than any spelling of a number.
MAX_NUMBER, MAX_COUNTRY = 100, 2


@attr.frozen(kw_only=True)
class TokenRequest:
    """The valid body of a requestToken. ``number_fields``: a phone number's fields as they were
    sent."""

    address: str
    client_secret: str = attr.field(repr=False)
    send_attempt: int
    next_link: Optional[str]
    number_fields: Mapping[str, str] = attr.field(factory=dict, repr=False)

    @classmethod
    def parse(cls, medium: str, body: Mapping[str, Any], config: ThreepidsConfig) -> TokenRequest:
        """Raises BadJSON, MissingParam, InvalidParam."""
        client_secret = json_body.required_string(body, "client_secret")
        check_client_secret(client_secret)
        number_fields = {} if medium == EMAIL else _number_fields(body)
        if medium == EMAIL:
            address = canonical_email(json_body.required_string(body, "email", limit=MAX_EMAIL))
        else:
            address = canonical_msisdn(number_fields["phone_number"], number_fields["country"])
            check_assignable(address)
        return cls(
            address=address,
            client_secret=client_secret,
            send_attempt=json_body.required_integer(body, "send_attempt"),
            next_link=next_link(json_body.string(body, "next_link"), config.next_link_domains),
            number_fields=number_fields,
        )


def _number_fields(body: Mapping[str, Any]) -> Mapping[str, str]:
    country = json_body.required_string(body, "country", limit=MAX_COUNTRY)
    number = json_body.required_string(body, "phone_number", limit=MAX_NUMBER)
    return {"country": country.upper(), "phone_number": number}
