"""Templates: which are used, what they may contain, and in which language."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Iterable

from twisted.trial.unittest import SynchronousTestCase

from regsys.templates import Templates, best_language
from regsys.templates import static_files as static_files_module
from regsys.templates.static_files import STATIC, served_files, static_files


class LanguageTests(SynchronousTestCase):
    def test_best(self) -> None:
        """The reader's first language that is there, a region's plain form included."""
        cases = [
            ((), "en"),
            (("de-at", "fr"), "de"),
            (("it", "fr"), "fr"),
            (("it",), "en"),
            (("*",), "en"),
        ]
        for wanted, best in cases:
            self.assertEqual(best_language(wanted, ("fr", "de", "en")), best, wanted)
        self.assertEqual(best_language(("it",), ("fr", "de")), "fr")
        self.assertEqual(best_language(("pt-br",), ("en", "pt-BR")), "pt-BR")


class TemplatesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.theirs = Path(self.mktemp())
        self.theirs.mkdir()

    def load(self, url: str = "https://hs.example/") -> Templates:
        return Templates.load(url, [str(self.theirs)])

    def test_theirsFirst(self) -> None:
        """An administrator's template is used, and ours if there is none."""
        (self.theirs / "refused.html").write_text("No: {{ error }}")
        self.assertEqual(self.load().render("refused.html", (), error="x"), "No: x")
        self.assertEqual(
            Templates.load("https://hs.example/").render("refused.html", (), error="x")[:9],
            "<!doctype",
        )

    def test_escaping(self) -> None:
        """A value in a page is escaped; in a text it is unchanged."""
        for name, expected in (("a.html", "&lt;b&gt;&#34;"), ("a.txt", '<b>"')):
            (self.theirs / name).write_text("{{ value }}")
            self.assertEqual(self.load().render(name, (), value='<b>"'), expected)

    def test_addresses(self) -> None:
        """URLs keep the path of the service, and those of files change with the file."""
        (self.theirs / "a.html").write_text("{{ root }} {{ static('style.css') }}")
        root, style = self.load("https://hs.example/deep/").render("a.html", ()).split()
        self.assertEqual(root, "/deep/")
        self.assertRegex(style, "^/deep/_matrix/static/regsys/style.css[?]v=[0-9a-f]{8}$")

    def test_static(self) -> None:
        """The files of the pages are known by their path."""
        self.assertEqual(static_files()["style.css"].name, "style.css")

    def test_imports(self) -> None:
        """A script imports others by addresses that change with them, at any depth, and nothing
        that is not there."""
        scripts = {name: content.decode() for name, content in served_files().items()}
        pattern = re.compile(r'^(?:import|export) .* from "(.*)";$', re.MULTILINE)
        known = {address.partition("/regsys/")[2] for address in self.addresses(scripts)}
        found = 0
        for name, script in scripts.items():
            if name.startswith("register"):
                for imported in pattern.findall(script):
                    found += 1
                    self.assertIn(normpath(join(dirname(name), imported)), known)
        self.assertGreater(found, 20)

    def addresses(self, scripts: Iterable[str]) -> list[str]:
        (self.theirs / "a.txt").write_text("{% for name in names %}{{ static(name) }} {% endfor %}")
        return self.load().render("a.txt", (), names=list(scripts)).split()

    def test_versions(self) -> None:
        """If a script changes, so do the addresses of all that import it."""
        before = self.addresses(["register.js", "register/steps.js", "register/dom.js"])
        folder = Path(self.mktemp())
        shutil.copytree(STATIC, folder)
        with (folder / "register/dom.js").open("a") as file:
            file.write("// changed")
        self.patch(static_files_module, "STATIC", folder)
        served_files.cache_clear()
        self.addCleanup(served_files.cache_clear)
        after = self.addresses(["register.js", "register/steps.js", "register/dom.js"])
        self.assertEqual([old == new for old, new in zip(before, after, strict=True)], [False] * 3)
