"""Values refuse wrong types, by the field's name, and what contradicts itself."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Union

import attr
from twisted.trial.unittest import SynchronousTestCase

from regsys.model import (
    Client,
    DeviceRequest,
    Login,
    LoginTerms,
    NewAccount,
    NewDevice,
    Registration,
    Requester,
    Secret,
    Threepid,
    User,
    UserID,
)
from regsys.model.accounts import UserType
from regsys.model.jobs import NewJob
from regsys.model.typed import check_type, typed

ALICE = UserID("alice", "s.example")
GUEST = LoginTerms(device_id="guest_device", is_guest=True)
PHONE = LoginTerms(device_id="PHONE")
MAIL = Threepid("email", "a@mail.example", 1)


@attr.frozen(kw_only=True, field_transformer=typed)
class Value:
    text: str = ""
    count: int = 0
    flag: Optional[bool] = None
    either: Union[int, str] = 0
    names: tuple[str, ...] = ()
    table: Mapping[str, int] = attr.field(factory=dict)
    anything: Any = None
    positive: int = attr.field(default=1, validator=attr.validators.gt(0))


@attr.frozen(kw_only=True, field_transformer=typed)
class More(Value):
    also: str = ""


def device(terms: LoginTerms) -> NewDevice:
    return NewDevice(login=Login(terms=terms, access_token=Secret("t")))


def new(**more: Any) -> NewAccount:
    return NewAccount(key="k", user_id=ALICE, created_ms=1, **more)


class TypeTests(SynchronousTestCase):
    def refusal(self, error: type[Exception], make: Callable[..., Any], **given: Any) -> str:
        return str(self.assertRaises(error, make, **given))

    def test_rightTypes(self) -> None:
        """Every annotated type passes, subclasses included."""
        for given in (
            {"text": UserType.BOT, "count": -1, "flag": True, "either": "x"},
            {"names": ("a", "b"), "table": {"a": 1}, "anything": object()},
        ):
            for kind in (Value, More):
                self.assertEqual(attr.asdict(kind(**given))["text"], given.get("text", ""))

    def test_wrongTypes(self) -> None:
        """A wrong type is told with the field's name and what it takes, never with the value."""
        for given, said in (
            ({"text": b"hidden"}, "text must be str, not bytes"),
            ({"text": None}, "text must be str, not None"),
            ({"count": True}, "count must be int, not bool"),
            ({"flag": 1}, "flag must be bool or None, not int"),
            ({"either": 1.5}, "either must be int or str, not float"),
            ({"names": "hidden"}, "names must be a tuple of str, not str"),
            ({"names": ["hidden", None]}, "names[1] must be str, not None"),
            ({"names": ("a", 17)}, "names[1] must be str, not int"),
            ({"table": [1]}, "table must be a mapping, not list"),
        ):
            for kind in (Value, More):
                self.assertEqual(self.refusal(TypeError, kind, **given), f"{kind.__name__}.{said}")
        self.assertEqual(self.refusal(TypeError, More, also=17), "More.also must be str, not int")

    def test_lists(self) -> None:
        """A list is taken where a tuple is kept."""
        for kind in (Value, More):
            self.assertEqual(kind(names=["a", "b"]).names, ("a", "b"))  # type: ignore[arg-type]
        made = Registration(threepids=[MAIL], bind_emails=["a@mail.example"], clients=[])  # type: ignore[arg-type]
        self.assertEqual((made.threepids, made.bind_emails), ((MAIL,), ("a@mail.example",)))
        hash(made.threepids)

    def test_ownValidator(self) -> None:
        """The validator that a field has is kept."""
        self.refusal(ValueError, Value, positive=0)
        self.refusal(TypeError, Value, text=17)

    def test_secret(self) -> None:
        """A text in the place of a secret is told how to become one, and is not shown."""
        said = self.refusal(TypeError, Registration, password="hidden")
        self.assertEqual(
            said, "Registration.password must be Secret or None, not str: wrap it, Secret(…)"
        )
        self.assertEqual(
            self.refusal(TypeError, Secret, value=b"x"), "Secret.value must be str, not bytes"
        )
        refused = self.assertRaises(TypeError, check_type, "token", "hidden", Secret)
        self.assertEqual(str(refused), "token must be Secret, not str: wrap it, Secret(…)")

    def test_values(self) -> None:
        """The values that embedders make are checked."""
        for kind, given in (
            (Registration, {"localpart": ALICE}),
            (Registration, {"key": 17}),
            (Registration, {"password_hash": Secret("x")}),
            (Registration, {"guest_access_token": "x"}),
            (Registration, {"threepids": MAIL}),
            (Registration, {"threepids": (("email", "a@mail.example", 1),)}),
            (Registration, {"bind_emails": "a@mail.example"}),
            (Registration, {"client": "192.0.2.1"}),
            (Registration, {"clients": ("192.0.2.1",)}),
            (Registration, {"device": "PHONE"}),
            (Registration, {"admin": "false"}),
            (NewAccount, {"key": "k", "user_id": str(ALICE), "created_ms": 1}),
            (NewAccount, {"key": "k", "user_id": ALICE, "created_ms": 1.5}),
            (
                NewAccount,
                {"key": "k", "user_id": ALICE, "created_ms": 1, "jobs": NewJob(kind="x")},
            ),
            (DeviceRequest, {"device_id": 17}),
            (LoginTerms, {"device_id": None}),
            (Login, {"terms": PHONE, "access_token": "t"}),
            (NewDevice, {"login": PHONE}),
            (Threepid, {"medium": "email", "address": "a@mail.example", "validated_at_ms": "1"}),
            (Client, {"address": None}),
            (UserID, {"localpart": 17, "server": "s.example"}),
            (Requester, {"user_id": "@alice:s.example"}),
            (User, {"user_id": ALICE, "is_guest": 1}),
        ):
            self.assertIn(f"{kind.__name__}.", self.refusal(TypeError, kind, **given), str(given))

    def test_userID(self) -> None:
        """A user ID is taken as a value or as its text."""
        for given in (ALICE, "@alice:s.example"):
            self.assertEqual(UserID.of(given), ALICE)
        self.assertIn("'bob' is not a user ID", self.refusal(ValueError, UserID.of, given="bob"))
        self.assertIn("must be UserID or str", self.refusal(TypeError, UserID.of, given=None))


class ContradictionTests(SynchronousTestCase):
    def test_registration(self) -> None:
        """A registration that contradicts itself is refused."""
        secret = Secret("x")
        for given in (
            {"password": secret, "password_hash": "x"},
            {"make_guest": True, "admin": True},
            {"make_guest": True, "password": secret},
            {"make_guest": True, "password_hash": "x"},
            {"make_guest": True, "localpart": "1", "guest_access_token": secret},
            {"make_guest": True, "localpart": "alice", "guest_id": ALICE},
            {"make_guest": True, "threepids": (MAIL,)},
            {"make_guest": True, "bind_emails": ("a@mail.example",)},
            {"guest_access_token": secret},
            {"guest_id": ALICE},
            {"guest_id": ALICE, "localpart": "bob"},
        ):
            refused = self.assertRaises(ValueError, Registration, **given)
            self.assertRegex(
                str(refused), "^Registration: .* (not both|excludes|needs)", str(given)
            )

    def test_registrationsThatAreFine(self) -> None:
        """A guest may have a name, a device and a client; a guest who becomes a user may become an
        administrator."""
        Registration(
            make_guest=True,
            localpart="visitor",
            device=DeviceRequest(),
            client=Client("192.0.2.1"),
            user_type="bot",
            display_name="Visitor",
        )
        Registration(localpart="1", guest_access_token=Secret("x"), admin=True, password_hash="x")
        Registration(localpart="alice", guest_id=ALICE)

    def test_keys(self) -> None:
        """A key is drawn for each registration that has none."""
        keys = {Registration().key for _ in range(20)}
        self.assertEqual(len(keys), 20)
        self.assertTrue(all(len(key) == 32 for key in keys))

    def test_others(self) -> None:
        """So are an account and a login that contradict themselves."""
        for make in (
            lambda: new(is_guest=True, admin=True),
            lambda: new(is_guest=True, password_hash="x"),
            lambda: new(is_guest=True, upgrades_guest=True),
            lambda: new(is_guest=True, device=device(PHONE)),
            lambda: new(device=device(GUEST)),
            lambda: new(upgrades_guest=True, device=device(GUEST)),
            lambda: LoginTerms(device_id="guest_device", is_guest=True, refreshable=True),
            lambda: Requester(user_id=ALICE, is_guest=True, is_admin=True),
        ):
            self.assertRaises(ValueError, make)
        new(is_guest=True, device=device(GUEST))
        new(upgrades_guest=True, device=device(PHONE))
