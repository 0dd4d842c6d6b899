"""What logins grant, the form of their tokens, and the owner of a token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from typing import Any, Optional

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import TokensConfig
from regsys.credentials.access_tokens import GuestTokens, Logins
from regsys.errors import Forbidden, InvalidParam
from regsys.model import DeviceRequest, Login, LoginTerms, Secret, UserID
from regsys.model.token_text import BASE62

SERVER = "s.example"
ALICE = UserID("alice", SERVER)
SECRET = b"the key of macaroons"
NOW_MS = 1_000_000
MINUTE_MS = 60_000


def guest_tokens(secret: bytes = SECRET, server: str = SERVER) -> GuestTokens:
    return GuestTokens(server_name=server, secret=secret)


def logins(clock: Optional[Clock] = None, secret: bytes = SECRET, **config: Any) -> Logins:
    if clock is None:
        clock = Clock()
        clock.advance(NOW_MS / 1000)
    return Logins(
        config=TokensConfig(**config), secret=secret, guests=guest_tokens(secret), clock=clock
    )


class TermsTests(SynchronousTestCase):
    def test_deviceID(self) -> None:
        """A device without an id gets ten random capitals; one with an id keeps it."""
        made = {logins().terms(DeviceRequest()).device_id for _ in range(20)}
        self.assertEqual(len(made), 20)
        for device_id in made:
            self.assertRegex(device_id, r"\A[A-Z]{10}\Z")
        self.assertEqual(logins().terms(DeviceRequest(device_id="mine ⚙")).device_id, "mine ⚙")

    def test_lengths(self) -> None:
        """A device id has at most 512 characters, a display name 100."""
        logins().terms(DeviceRequest(device_id="ä" * 512, display_name="ä" * 100))
        for request in (
            DeviceRequest(device_id="a" * 513),
            DeviceRequest(display_name="a" * 101),
        ):
            self.assertRaises(InvalidParam, logins().terms, request)

    def test_lifetimes(self) -> None:
        """Every expiry is the earliest of those that apply, and the session's caps them all."""
        refreshable = "refreshable_access_token_lifetime_ms"
        nonrefreshable = "nonrefreshable_access_token_lifetime_ms"
        session, refresh = "session_lifetime_ms", "refresh_token_lifetime_ms"
        # configuration, whether a refresh token is wanted: whether one is given, and in how
        # many minutes the access token, the refresh token and the session end
        cases: list[tuple[dict[str, Any], bool, tuple[Any, ...]]] = [
            ({}, False, (False, None, None, None)),
            ({}, True, (True, 5, None, None)),
            ({refreshable: 7}, True, (True, 7, None, None)),
            ({refreshable: 7}, False, (False, None, None, None)),
            ({refreshable: None}, True, (False, None, None, None)),
            ({refreshable: None, nonrefreshable: 8}, True, (False, 8, None, None)),
            ({nonrefreshable: 8}, False, (False, 8, None, None)),
            ({nonrefreshable: 8}, True, (True, 5, None, None)),
            ({refresh: 60}, True, (True, 5, 60, None)),
            ({refresh: 60}, False, (False, None, None, None)),
            ({session: 3}, False, (False, 3, None, 3)),
            ({session: 3}, True, (True, 3, 3, 3)),
            ({session: 90, refresh: 60}, True, (True, 5, 60, 90)),
            ({session: 90, nonrefreshable: 8}, False, (False, 8, None, 90)),
            ({session: 6, nonrefreshable: 8, refresh: 9}, True, (True, 5, 6, 6)),
        ]
        for config, wanted, expected in cases:
            in_ms = {name: value and value * MINUTE_MS for name, value in config.items()}
            terms = logins(**in_ms).terms(DeviceRequest(wants_refresh_token=wanted))
            ends = (terms.valid_until_ms, terms.refresh_until_ms, terms.session_until_ms)
            minutes = [end and (end - NOW_MS) / MINUTE_MS for end in ends]
            self.assertEqual((terms.refreshable, *minutes), expected, (config, wanted))

    def test_guest(self) -> None:
        """A guest's login is for ``guest_device``, without expiry and without a refresh token,
        whatever is asked for and whatever lifetimes other tokens have."""
        asked = DeviceRequest(device_id="MINE", wants_refresh_token=True)
        made = logins(nonrefreshable_access_token_lifetime_ms=MINUTE_MS)
        self.assertEqual(
            made.terms(asked, is_guest=True), LoginTerms(device_id="guest_device", is_guest=True)
        )

    def test_guestWhereSessionsEnd(self) -> None:
        """If sessions must expire, there are no guests, whose tokens never do."""
        made = logins(session_lifetime_ms=MINUTE_MS)
        self.assertRaises(Forbidden, made.terms, DeviceRequest(), is_guest=True)
        self.assertFalse(made.terms(DeviceRequest()).is_guest)


class IssueTests(SynchronousTestCase):
    terms = LoginTerms(device_id="D", refreshable=True)

    def assertForm(self, token: Secret, prefix: str) -> None:
        found = re.fullmatch(rf"{prefix}_YWxpY2U_[A-Za-z]{{20}}_([0-9A-Za-z]{{6}})", token.reveal())
        assert found, token.reveal()
        number = 0
        for digit in found[1]:
            number = number * 62 + BASE62.index(digit)
        self.assertEqual(number, zlib.crc32(token.reveal().rpartition("_")[0].encode()))

    def test_form(self) -> None:
        """Tokens are prefix, localpart in unpadded base 64, twenty letters and a checksum."""
        login = logins().issue(ALICE, self.terms, "key")
        self.assertForm(login.access_token, "syt")
        assert login.refresh_token is not None
        self.assertForm(login.refresh_token, "syr")
        self.assertEqual(login.terms, self.terms)

    def test_noRefreshToken(self) -> None:
        """A login that can't be refreshed has no refresh token."""
        self.assertIsNone(logins().issue(ALICE, LoginTerms(device_id="D"), "k").refresh_token)

    def test_madeWith(self) -> None:
        """What the tokens are made with is part of the login only where it is kept."""
        self.assertIsNone(logins().issue(ALICE, self.terms, "key").made_with)
        keeping = logins(keeps_keys=True)
        self.assertEqual(keeping.issue(ALICE, self.terms, "key").made_with, Secret("key"))

    def test_sameKeySameTokens(self) -> None:
        """The same key gives the very same tokens; another key, another secret, and the other token
        of the pair have other letters."""

        def letters(login: Login) -> list[str]:
            pair = [login.access_token, login.refresh_token or Secret("")]
            return [token.reveal().split("_")[2] for token in pair]

        first = logins().issue(ALICE, self.terms, "key")
        self.assertEqual(logins().issue(ALICE, self.terms, "key"), first)
        others = [
            logins().issue(ALICE, self.terms, "another key"),
            logins(secret=b"another secret").issue(ALICE, self.terms, "key"),
        ]
        seen = [piece for login in (first, *others) for piece in letters(login)]
        self.assertEqual(len(set(seen)), 6, seen)


def macaroon(secret: bytes, server: str, *caveats: str) -> str:
    """A version-1 macaroon according to the format's description, made without the library."""

    def sign(key: bytes, text: bytes) -> bytes:
        return hmac.new(key, text, hashlib.sha256).digest()

    def packet(key: bytes, value: bytes) -> bytes:
        body = key + b" " + value + b"\n"
        return b"%04x" % (len(body) + 4) + body

    signature = sign(sign(b"macaroons-key-generator", secret), b"key")
    packets = [packet(b"location", server.encode()), packet(b"identifier", b"key")]
    for caveat in caveats:
        signature = sign(signature, caveat.encode())
        packets.append(packet(b"cid", caveat.encode()))
    packets.append(packet(b"signature", signature))
    return base64.urlsafe_b64encode(b"".join(packets)).decode().rstrip("=")


class SecrecyTests(SynchronousTestCase):
    def test_repr(self) -> None:
        """The secret behind all tokens does not appear in a repr."""
        self.assertNotIn(repr(SECRET), repr(logins()))


class GuestTokenTests(SynchronousTestCase):
    caveats = ("gen = 1", "type = access", "user_id = @42:s.example", "nonce = n", "guest = true")

    def read(self, *caveats: str, secret: bytes = SECRET) -> Optional[UserID]:
        return guest_tokens().read(Secret(macaroon(secret, SERVER, *caveats)))

    def test_form(self) -> None:
        """A guest's token is a version-1 macaroon with its five caveats in their order, in unpadded
        URL-safe base 64."""
        token = guest_tokens().make(UserID("42", SERVER), "n")
        self.assertEqual(token.reveal(), macaroon(SECRET, SERVER, *self.caveats))

    def test_nonce(self) -> None:
        """The nonce has sixteen letters or symbols, which follow from the login's key."""
        terms = LoginTerms(device_id="guest_device", is_guest=True)

        def nonce(key: str) -> str:
            token = logins().issue(UserID("42", SERVER), terms, key).access_token.reveal()
            packets = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("latin-1")
            found = re.search(r"nonce = (.*)\n", packets)
            assert found
            return found[1]

        self.assertRegex(nonce("key"), r"\A[-0-9A-Za-z.,;:^&*_+=#~@]{16}\Z")
        self.assertEqual(nonce("key"), nonce("key"))
        self.assertNotEqual(nonce("key"), nonce("another key"))

    def test_ownTokenIsRead(self) -> None:
        """A token that was made here names its guest."""
        self.assertEqual(self.read(*self.caveats), UserID("42", SERVER))

    def test_strangersTokens(self) -> None:
        """A token under another key, for another purpose, with a claim added or without the guest's
        mark names no user."""
        gen, kind, user, nonce, guest = self.caveats
        self.assertIsNone(self.read(*self.caveats, secret=b"another key"))
        for caveats in (
            (gen, "type = login", user, nonce, guest),
            ("gen = 2", kind, user, nonce, guest),
            (*self.caveats, "user_id = @victim:s.example"),
            ("user_id = @victim:s.example", *self.caveats),
            (*self.caveats, "time < 1"),
            (gen, kind, user, nonce),
            (gen, kind, user, nonce, "guest = false"),
            (gen, kind, nonce, guest),
            (gen, kind, "user_id = 42", nonce, guest),
        ):
            self.assertIsNone(self.read(*caveats), caveats)

    def test_noise(self) -> None:
        """Arbitrary input names no user, and causes no error."""
        token = macaroon(SECRET, SERVER, *self.caveats)
        for noise in ("", "x", token[:-5], token[:40], "ä", "\ud800", "MDAxZWxvY2F0", "{}"):
            self.assertIsNone(guest_tokens().read(Secret(noise)), noise)
