"""What an adoption has found, for the operator."""

from __future__ import annotations

from collections import Counter
from typing import IO, Iterator, Mapping, Optional

import attr

# What was found, and what was done about it.
FINDINGS: Mapping[str, str] = {
    # The account is left at Synapse.
    "locked": "locked there: left, as nothing here keeps an account closed that is not deactivated;"
    " unlock it there, and adopt again",
    "foreign": "of another server: left",
    "no_user_id": "not a user ID, or not valid text: left",
    "made_here": "an account of this name was made here, and there is another one there: neither is"
    " changed, and the other one's logins end with the switch",
    # The account is adopted.
    "old_name": "a name that could not be registered today: adopted as it is",
    "same_but_case": "names that are the same but for the case of letters: adopted; the one in"
    " capitals logs in by its exact spelling alone",
    "unknown_hash": "a password hash that is not bcrypt's: adopted without a password, which the"
    " user can reset by an address",
    "sso": "without a password, as it logs in by single sign-on, which regsys has not: adopted; the"
    " user stays logged in, and needs a password (reset by an address) for the next login",
    "other_since": "changed both here and there since it was adopted: ours stays",
    "locked_since": "locked there after it was adopted: NOT locked here, deactivate it or change"
    " its password",
    # What an account has.
    "respelled": "an address that is not in its canonical form: adopted in that form",
    "no_address": "an address that is neither an email address nor a phone number: left",
    "address_twice": "an address that another account has in another spelling: left; nobody's"
    " address is moved",
    "address_here": "an address that an account made here has: left; nobody's address is moved",
    "puppet_token": "an access token by which an administrator acts as another user: left, it ends"
    " with the switch",
    "token_here": "a registration token of which there is one here: ours stays as it is",
    "token_since": "a registration token whose limits have changed both here and there since it was"
    " adopted: ours stay",
    "no_device": "an access token without a device: left, whoever uses it must log in again",
}
# What is counted without being listed.
COUNTED: Mapping[str, str] = {
    "accounts": "accounts",
    "known": "were adopted before",
    "changed": "of these have changed there since, which was taken over",
    "born_here": "were made by regsys",
    "guests": "guests (once Synapse asks regsys, their tokens end; they can still become users)",
    "ghosts": "users of application services",
    "deactivated": "deactivated, whose names stay taken",
    "unapproved": "wait for approval",
    "passwords": "passwords",
    "addresses": "addresses",
    "devices": "devices",
    "tokens": "access tokens",
    "refresh_tokens": "refresh tokens",
    "registration_tokens": "registration tokens",
    "registration_tokens_changed": "registration tokens have changed there since, which was taken"
    " over",
    "ended": "logins ended here, as they have ended there since",
}
EXAMPLES = 5


@attr.define
class Findings:
    """What one batch has brought; counted once it is committed."""

    counts: Counter[str] = attr.field(factory=Counter)
    items: list[tuple[str, str]] = attr.field(factory=list)

    def found(self, finding: str, user_id: str, detail: str = "") -> None:
        """``detail`` must have nothing secret in it."""
        text = _printable(f"{user_id}  {detail}".strip())
        self.items.append((finding, text))


@attr.define
class Report:
    """Counts, and some examples of each finding. ``file`` gets every finding, a line each.
    ``texts`` says what each means, ``counted`` what is counted without being listed."""

    file: Optional[IO[str]] = None
    texts: Mapping[str, str] = FINDINGS
    counted: Mapping[str, str] = COUNTED
    counts: Counter[str] = attr.field(factory=Counter)
    _examples: dict[str, list[str]] = attr.field(factory=dict, init=False)

    def add(self, batch: Findings) -> None:
        self.counts.update(batch.counts)
        for finding, text in batch.items:
            self.counts[finding] += 1
            examples = self._examples.setdefault(finding, [])
            if len(examples) < EXAMPLES:
                examples.append(text)
            if self.file is not None:
                self.file.write(f"{finding}\t{text}\n")

    @property
    def has_more(self) -> bool:
        """Whether not all findings are among the examples."""
        return any(self.counts[finding] > EXAMPLES for finding in self.texts)

    def lines(self) -> Iterator[str]:
        yield from self.counted_lines()
        yield from self.found_lines()

    def counted_lines(self) -> Iterator[str]:
        """The counts alone."""
        for name, text in self.counted.items():
            if self.counts[name] or name == "accounts":
                yield f"{self.counts[name]:>10,} {text}"

    def found_lines(self) -> Iterator[str]:
        """The findings alone."""
        for name, text in self.texts.items():
            count = self.counts[name]
            if count:
                yield f"{count:>10,} × {text}"
                yield from (f"{'':>13}{example}" for example in self._examples[name])
                if count > EXAMPLES:
                    yield f"{'':>13}… and {count - EXAMPLES:,} more"


def _printable(text: str) -> str:
    """With nothing in it that a terminal, or the file of lines, would take for something else."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
