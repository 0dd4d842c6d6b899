"""Every sentence for users is there in German and in French too."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from regsys.templates import Catalogue, Templates
from tests import catalogues

PLACEHOLDERS = re.compile(r"%\(\w+\)s|\{\w+\}")


class CatalogueTests(SynchronousTestCase):
    def test_complete(self) -> None:
        """Every sentence of templates, scripts and refusals is translated, and no other: if one is
        missing, ``python -m tests.catalogues`` says which."""
        wanted = {sentence for sentence, _ in catalogues.sentences()}
        self.assertIn("This user name is taken.", wanted)  # a refusal's
        self.assertIn("This registration token is not valid.", wanted)  # a stage's
        self.assertIn("Your account is ready", wanted)  # a template's
        self.assertIn("{id} is free.", wanted)  # a script's
        for language in catalogues.LANGUAGES:
            catalogue = catalogues.read(language)
            self.assertEqual(catalogues.missing(catalogue), [], language)
            known = {message.id for message in catalogue if message.id}
            self.assertEqual(known - wanted, set(), language)

    def test_placeholders(self) -> None:
        """Every translation has the placeholders of its sentence."""
        for language in catalogues.LANGUAGES:
            for message in catalogues.read(language):
                if message.id:
                    here, there = map(PLACEHOLDERS.findall, (message.id, message.string))
                    self.assertEqual(sorted(here), sorted(there), message.id)

    def test_compiled(self) -> None:
        """The compiled catalogues are those of the sources."""
        for language in catalogues.LANGUAGES:
            written = {m.id: m.string for m in catalogues.read(language) if m.id}
            with catalogues.path(language).with_suffix(".mo").open("rb") as file:
                self.assertEqual(Catalogue(file).messages, written, language)
            with catalogues.path(language).with_name("scripts.mo").open("rb") as file:
                some = Catalogue(file).messages
            self.assertLessEqual(some.items(), written.items(), language)
            self.assertIn("This user name is taken.", some)  # a refusal's
            self.assertIn("{id} is free.", some)  # a script's
            self.assertNotIn("Confirm your email address", some)  # a template's

    def test_pages(self) -> None:
        """Pages are completely in the reader's language: their text, a refusal, the script's
        sentences; English needs no catalogue."""
        templates = Templates.load("https://hs.example/")
        self.assertEqual(set(templates.languages), {"en", *catalogues.LANGUAGES})
        error = "This user name is taken."
        for language, title, expected in (
            ("de-at", "Das hat nicht geklappt", "Dieser Benutzername ist schon vergeben."),
            ("fr", "Cela n’a pas fonctionné", "Ce nom d’utilisateur est déjà pris."),
            ("it", "That did not work", error),
        ):
            page = templates.render("refused.html", (language,), error=error)
            self.assertIn(f"<h1>{title}</h1>", page)
            self.assertIn(f">{expected}</p>", page)
