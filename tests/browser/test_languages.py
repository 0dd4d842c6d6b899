"""The same pages in the reader's language."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from tests.browser.case import PASSWORD, PLENTY, REGISTER, BrowserCase

POLICY = {"enabled": True, "minimum_length": 12, "require_digit": True}


class LanguageTests(BrowserCase):
    options: ClassVar[Mapping[str, Any]] = {
        "registration_requires_token": True,
        "rc_registration_token_validity": PLENTY,
        "password_config": {"policy": POLICY},
    }

    def register(self, language: str, *words: str) -> None:
        """Register in this language; ``words`` are what the pages show on the way, in this
        order."""
        name, password, free, go_on, lacks, rule, token, refused, ready = words
        self.make_token("good")
        self.page = self.open(locale=language)
        self.go(REGISTER)
        self.assertEqual(self.page.locator("html").get_attribute("lang"), language[:2])
        self.page.get_by_label(name).fill("alice")
        self.page.get_by_role("status").filter(has_text=free).wait_for()
        for typed, alert in ((PASSWORD, lacks), (f"{PASSWORD} 1", "")):
            self.page.get_by_label(password, exact=True).fill(typed)
            self.press(go_on)
            if alert:
                self.assertAlert(alert)
                self.assertAlert(rule)
        self.assertStep(token)
        self.page.get_by_label(token).fill("bad")
        self.press(go_on)
        self.assertAlert(refused)
        self.assertGood(f"token-{language}")
        self.page.get_by_label(token).fill("good")
        self.press(go_on)
        self.page.get_by_role("heading", name=ready).wait_for()
        self.assertGood(f"ready-{language}")

    def test_german(self) -> None:
        """In German, in the polite form."""
        self.register(
            "de-AT",
            "Benutzername",
            "Passwort",
            "@alice:test.example ist frei.",
            "Weiter",
            "Dem Passwort fehlt noch:",
            "Eine Ziffer",
            "Registrierungstoken",
            "Dieser Registrierungstoken ist nicht gültig.",
            "Ihr Konto ist bereit",
        )

    def test_french(self) -> None:
        """In French, too."""
        self.register(
            "fr",
            "Nom d’utilisateur",
            "Mot de passe",
            "@alice:test.example est libre.",
            "Continuer",
            "Il manque encore au mot de passe",
            "Un chiffre",
            "Jeton d’inscription",
            "Ce jeton d’inscription n’est pas valide.",
            "Votre compte est prêt",
        )
