"""The operator's rules about names: what they refuse, and what passes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys.accounts.name_rules import KEPT, NameRules
from regsys.config import ConfigError, NamesConfig
from regsys.config.names import parse_rule
from regsys.errors import InvalidUsername, RegistrationError, UsernameReserved
from regsys.model import Secret
from tests.support.naming import UsernamesCase, user


def names_config(**options: Any) -> NamesConfig:
    """With rules as they are written."""
    for name in {"deny", "allow", "only"} & options.keys():
        options[name] = frozenset(map(parse_rule, options[name]))
    return NamesConfig(**options)


class NameRulesTests(SynchronousTestCase):
    def refused(self, rules: NameRules, names: str) -> str:
        """Those of the names that are denied, or not of the form."""
        found = []
        for name in names.split():
            try:
                rules.check(name)
            except RegistrationError:
                found.append(name)
        return " ".join(found)

    def assertOnly(self, refused: str, passing: str, **options: Any) -> None:
        rules = NameRules.load(names_config(**options))
        self.assertEqual(self.refused(rules, refused), refused)
        self.assertEqual(self.refused(rules, passing), "")

    def test_kinds(self) -> None:
        """A rule is about the whole name, its begin, its end, or a part."""
        self.assertOnly("admin", "admins my-admin", deny=["admin"])
        self.assertOnly("mod mods mod.x", "mo amod", deny=["mod*"])
        self.assertOnly("bot my-bot", "bots ot", deny=["*bot"])
        self.assertOnly("spam spammer xspam xspamx", "spa m s.pam", deny=["*spam*"])
        self.assertOnly("ab a1 zz", "abc a", deny=["/[a-z][a-z0-9]/"])

    def test_manyOfAKind(self) -> None:
        """Rules of one kind and different lengths hold beside each other, patterns too."""
        self.assertOnly("abx abcdx", "ax acdx", deny=["ab*", "abcd*", "xy*"])
        self.assertOnly("x1 y22 a", "x y2 y1 x22", deny=["/x[0-9]/", "/y[0-9]{2}/", "/a|c/"])
        self.assertOnly("admin", "admi", deny=["/ADMI[N]/"])

    def test_lookAlikes(self) -> None:
        """What looks like a name that is denied whole is denied, unless that is switched off."""
        alike = "adm1n admln 4dmin a.d-m_i=n adrnin admin. _admin"
        self.assertOnly(alike, "admins badmin madam", deny=["admin"])
        self.assertOnly("r00t vvebmaster webrnaster", "rot", deny=["root", "webmaster"])
        self.assertOnly("admin", alike, deny=["admin"], look_alikes=False)
        self.assertOnly("spam1", "sparn1 5pam1", deny=["spam*"])
        self.assertOnly("--", "- . a", deny=["--"])

    def test_allow(self) -> None:
        """A name that is allowed passes what denies it, as a look-alike too; nothing else does."""
        self.assertOnly(
            "admin admin1 4dmin",
            "badminton adm1n",
            deny=["*admin*", "admin"],
            allow=["badminton", "adm1n"],
        )

    def test_only(self) -> None:
        """With a form that names must have, all others are refused, allowed ones too."""
        form = ["/[a-z]+\\.[a-z]+/", "x-*"]
        self.assertOnly("alice a.b.c x.", "a.b x-y", only=form, allow=["alice"])
        self.assertOnly("admin.x", "a.b", only=form, deny=["admin*"])

    def test_lengths(self) -> None:
        """Names that are too short or too long are refused, allowed ones too."""
        self.assertOnly("a ab abcdef", "abc abcde", min_length=3, max_length=5, allow=["ab"])

    def test_refusals(self) -> None:
        """A name that is kept back is exclusive; one of a wrong form is not valid."""
        rules = NameRules.load(
            names_config(deny=["admin"], only=["/[a-z]*/"], min_length=2, max_length=9)
        )
        error = self.assertRaises(UsernameReserved, rules.check, "admin")
        self.assertEqual((error.status, error.errcode, error.text), (400, "M_EXCLUSIVE", KEPT))
        for name, word in (("a", "too short"), ("a" * 10, "too long"), ("a.b", "form")):
            refusal = self.assertRaises(InvalidUsername, rules.check, name)
            self.assertIn(word, refusal.text)

    def test_reload(self) -> None:
        """A changed file counts once it is read again; a broken one changes nothing."""
        path = Path(self.mktemp())
        path.write_text("admin\nroot\n")
        rules = NameRules.load(names_config(deny=["bot"], deny_file=str(path)))
        path.write_text("root\nspam*\n*egg\n")
        self.assertEqual(self.refused(rules, "bot admin root spams"), "bot admin root")
        self.assertEqual(rules.reload(), [f"{path} (2 rules more, 1 fewer)"])
        self.assertEqual(self.refused(rules, "bot admin root r00t spams"), "bot root r00t spams")
        self.assertEqual(rules.reload(), [])
        path.write_text("no rule\n")
        with capturedLogs() as events:
            self.assertEqual(rules.reload(), [])
        self.assertIn("line 1 is no rule", events[0]["reason"])
        path.unlink()
        with capturedLogs() as events:
            self.assertEqual(rules.reload(), [])
        self.assertEqual(len(events), 1)
        self.assertEqual(self.refused(rules, "bot admin root spams"), "bot root spams")
        path.write_text("admin\n")
        self.assertEqual(rules.reload(), [f"{path} (1 rules more, 3 fewer)"])

    def test_allowFile(self) -> None:
        """The allowed names have a file of their own; one that vanished before the start is
        reported."""
        path = Path(self.mktemp())
        path.write_text("admin\n")
        config = names_config(deny=["admin"], allow_file=str(path))
        self.assertEqual(self.refused(NameRules.load(config), "admin adm1n"), "adm1n")
        path.unlink()
        error = self.assertRaises(ConfigError, NameRules.load, config)
        self.assertIn(str(path), error.problems[0])

    def test_tenThousand(self) -> None:
        """A name's look-ups are no more with many rules: they are in sets by length, and in one
        pattern."""
        forms = ("{}", "{}*", "*{}", "*{}*", "/{}[0-9]/")
        texts = [form.format(f"x{number:05}") for number in range(2000) for form in forms]
        rules = NameRules.load(names_config(deny=texts))
        matcher = rules._deny
        for by_length in (matcher.prefixes, matcher.suffixes, matcher.parts):
            self.assertEqual({size: len(texts) for size, texts in by_length.items()}, {6: 2000})
        self.assertIsInstance(matcher.pattern, re.Pattern)
        names = "x00001 ax01999 x01000b x0199"
        self.assertEqual(self.refused(rules, names), "x00001 ax01999 x01000b")


class SeamTests(UsernamesCase):
    """The rules among those of names (B1)."""

    def test_order(self) -> None:
        """They come after the grammar and reservations, and before it is told who has a name."""
        names = self.make("kept", rules=names_config(deny=["taken", "kept"], max_length=5))
        self.assertIsNone(self.check("alice", names))
        self.assertEqual(self.refusal(UsernameReserved, "taken", names).text, KEPT)
        self.assertNotEqual(self.refusal(UsernameReserved, "kept", names).text, KEPT)
        self.assertIn("characters a-z", self.refusal(InvalidUsername, "A" * 9, names).text)
        self.assertIn("255 bytes", self.refusal(InvalidUsername, "a" * 300, names).text)

    def test_administrators(self) -> None:
        """An administrator may take a name that the rules keep back, but no other refused one."""
        names = self.make("kept", rules=names_config(deny=["admin"]))
        self.refusal(UsernameReserved, "admin", names)
        self.assertIsNone(self.check("admin", names, by_admin=True))
        self.refusal(UsernameReserved, "kept", names, by_admin=True)

    def test_guests(self) -> None:
        """A guest keeps its name, which was generated for it, whatever the rules."""
        names = self.make(rules=names_config(min_length=3))
        token = Secret("guest")
        self.assertEqual(self.check("42", names, guest_access_token=token), user("42"))
        self.assertEqual(self.check("42", names, guest_id=user("42")), user("42"))

    def test_made(self) -> None:
        """A registration whose account is made gets its answer again, though its name has been
        kept back since."""
        names = self.make(rules=names_config(deny=["alice"], max_length=5))
        self.accounts.made = {"key": user("alice"), "other": user("robert")}
        self.refusal(UsernameReserved, "alice", names, key="other")
        self.assertIsNone(self.check("alice", names, key="key"))
        self.assertIsNone(self.check("robert", names, key="other"))
        self.assertIsNone(self.check("alice", names, assigned_user_id=user("alice")))
