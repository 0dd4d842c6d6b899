"""docs/handler.md: what it says of the original handler is whole, and what it names is here."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, Mapping

import attr
from twisted.trial.unittest import SynchronousTestCase

from regsys import model
from regsys.accounts.handler import RegistrationHandler

PAGE = Path(__file__).parent.parent / "docs/handler.md"
# The methods and arguments of the original handler.
ORIGINAL: Mapping[str, str] = {
    "check_username": "localpart guest_access_token assigned_user_id inhibit_user_in_use_error",
    "register_user": (
        "localpart password_hash guest_access_token make_guest admin threepid user_type"
        " default_display_name address bind_emails by_admin user_agent_ips auth_provider_id"
        " approved"
    ),
    "register_with_store": (
        "user_id password_hash was_guest make_guest appservice_id create_profile_with_displayname"
        " admin user_type address shadow_banned approved"
    ),
    "appservice_register": "user_localpart as_token password_hash display_name",
    "register_device": (
        "user_id device_id initial_display_name is_guest is_appservice_ghost auth_provider_id"
        " should_issue_refresh_token auth_provider_session_id"
    ),
    "post_registration_actions": "user_id auth_result access_token",
    "post_consent_actions": "user_id",
    "check_registration_ratelimit": "address",
    "check_user_id_not_appservice_exclusive": "user_id allowed_appservice",
    "shadow_register": "localpart display_name auth_result params",
}


def parameters(method: str) -> dict[str, str]:
    """The arguments of a method of ours, each as it is written with its default."""
    ours = list(inspect.signature(getattr(RegistrationHandler, method)).parameters.values())[1:]
    return {item.name: str(item.replace(annotation=item.empty)) for item in ours}


class HandlerPageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = PAGE.read_text("utf-8")
        parts = re.split(r"^## (.*)$", self.text, flags=re.MULTILINE)
        self.sections = dict(zip(parts[1::2], parts[2::2], strict=True))

    def rows(self, method: str) -> list[list[str]]:
        """The cells of the table about this method, without its head."""
        lines = re.findall(r"^\| ?(.*) ?\|$", self.sections[method], re.MULTILINE)
        return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]

    def test_original(self) -> None:
        """Each method of the original has a section, each of its arguments a row."""
        self.assertEqual([*self.sections][1:-1], [*ORIGINAL])
        for method, arguments in ORIGINAL.items():
            first = " ".join(row[0] for row in self.rows(method))
            self.assertEqual(re.findall(r"`(\w+)`", first), arguments.split(), method)

    def test_fields(self) -> None:
        """A field of one of our values that the page names exists."""
        values: Any = {"Registration": model.Registration, "NewAccount": model.NewAccount}
        named = re.findall(r"`(Registration|NewAccount)\.(\w+)`", self.text)
        self.assertGreater(len(named), 25)
        for value, field in named:
            self.assertIn(field, [item.name for item in attr.fields(values[value])], value)

    def test_arguments(self) -> None:
        """A section begins with the call of our method, defaults included; the second column has
        its arguments."""
        for method in ORIGINAL:
            shown = re.findall(rf"`handler\.{method}\((.*?)\)`", self.sections[method])
            ours = parameters(method)
            if method != "register_user":  # its arguments are fields
                self.assertEqual(shown[0], ", ".join(ours.values()), method)
            for row in self.rows(method):
                for name in re.findall(r"`([a-z_]+)`", row[1]):
                    self.assertIn(name, ours, method)

    def test_allOfOurs(self) -> None:
        """Each public method of our handler is on the page, and each that is there exists."""
        named = {*re.findall(r"handler\.(\w+)\(", self.text)}
        public = inspect.getmembers(RegistrationHandler, inspect.isfunction)
        # "repeat" is for our own endpoint.
        ours = {name for name, _ in public if not name.startswith("_")} - {"repeat"}
        self.assertEqual(named, ours)
