"""Templates that cannot be rendered: found at the start, and hidden from users if later."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Sequence

from jinja2 import FileSystemLoader
from twisted.logger import LogEvent, capturedLogs, formatEvent

from regsys.config import ConfigError
from regsys.templates import HERE
from regsys.testing import config
from regsys.wiring import template_checks
from tests.support.case import SystemCase
from tests.support.client import V3, Answer
from tests.support.policies import user_consent, write_pages

PAGE = "/_matrix/static/client/register/"
BROKEN = "{{ nowhere.at_all }}"


def templates() -> set[str]:
    """The names of all of ours."""
    kinds = (".html", ".txt", ".js")
    return {path.relative_to(HERE).as_posix() for path in HERE.rglob("*") if path.suffix in kinds}


class TemplateCase(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.theirs = Path(self.mktemp()).resolve()
        for folder in ("stages", "sms", "mails"):
            (self.theirs / folder).mkdir(parents=True)

    def write(self, name: str, text: str) -> None:
        path = self.theirs / name
        path.write_text(text)
        # The file's modification time changes, even within one second.
        os.utime(path, (1, len(text)))

    def start(self, **options: Any) -> None:
        theirs = {"templates": {"custom_template_directory": str(self.theirs)}}
        self.system(**{"enable_registration": True, **theirs, **options})

    def assertPage(self, answer: Answer, status: int, *parts: str) -> None:
        self.assertEqual((answer.status, answer.headers["content-type"][:9]), (status, "text/html"))
        for part in parts:
            self.assertIn(part, answer.json.decode())


class StartTests(TemplateCase):
    def problems(self, **options: Any) -> list[str]:
        directories = [str(self.theirs)]
        chosen = config(templates={"custom_template_directory": str(self.theirs)}, **options)
        found = template_checks.problems(chosen, directories)
        return [*found, *template_checks.mail_problems(chosen, directories)]

    def test_all(self) -> None:
        """Each template of ours that may be replaced is tried; copies of ours pass."""
        for path in templates():
            self.write(path, (HERE / path).read_text())
        tried = set()
        read = FileSystemLoader.get_source

        def get_source(loader: FileSystemLoader, environment: Any, name: str) -> Any:
            tried.add(name)
            return read(loader, environment, name)

        self.patch(FileSystemLoader, "get_source", get_source)
        self.assertEqual(self.problems(email={"notif_from": "a@example.com"}), [])
        self.assertEqual(tried, templates())

    def test_branches(self) -> None:
        """Conditional parts are tried too: a failure, a code to be typed, a language."""
        broken = {
            "stages/terms.html": "{% if failure %}{{ nowhere }}{% endif %}",
            "confirm_address.html": "{% if not token %}{{ nowhere }}{% endif %}",
            "address_refused.html": "{% if validation %}{{ nowhere }}{% endif %}",
            "register.html": "{% if policy.require_digit %}{{ nowhere }}{% endif %}",
            "refused.html": "{% if language == 'de' %}{{ nowhere }}{% endif %}",
            "sms/registration.txt": "{% if not registering %}{{ nowhere }}{% endif %}",
            "mails/registration.txt": "{% if not registering %}{{ nowhere }}{% endif %}",
            "mails/subject.txt": "{% if kind == 'add_threepid' %}{{ nowhere }}{% endif %}",
        }
        for name, text in broken.items():
            self.write(name, text)
        problems = self.problems(email={"notif_from": "a@example.com"})
        self.assertEqual(len(problems), len(broken), problems)
        for name in broken:
            (line,) = (each for each in problems if f"(line 1 of {self.theirs / name})" in each)
            self.assertIn("UndefinedError: 'nowhere' is undefined", line)
            self.assertIn(" — mend it", line)

    def test_together(self) -> None:
        """All errors come in one report, each with its file and line, and once."""
        self.write("refused.html", "fine\n{% if %}")
        self.write("passed.html", "{{ 1 / 0 }}")
        self.write("register.html", "{% extends 'nowhere.html' %}")
        problems = self.assertRaises(ConfigError, self.start).problems
        self.assertEqual(len(problems), 3, problems)
        self.assertIn("TemplateSyntaxError: Expected an expression", problems[0])
        self.assertIn(f"(line 2 of {self.theirs}/refused.html)", problems[0])
        self.assertIn("'passed.html' cannot be rendered: ZeroDivisionError", problems[1])
        self.assertIn("TemplateNotFound: 'nowhere.html' not found", problems[2])

    def test_policies(self) -> None:
        """The current pages of policies are tried in each language, and the pages of thanks."""
        pages = write_pages(self.theirs / "pages", "1.0", "0.9", language="en")
        write_pages(pages, "1.0", language="de")
        self.start(**user_consent(pages))
        for name in ("de/1.0.html", "en/success.html"):
            self.write(f"pages/{name}", "{% if user %}{{ 1 // 0 }}{% endif %}{% for %}")
            error = self.assertRaises(ConfigError, lambda: self.start(**user_consent(pages)))
            self.assertIn(name, str(error))
            (pages / name).unlink()
        self.write("pages/en/0.9.html", "{% for %}")
        self.start(**user_consent(pages))

    def test_withoutADirectory(self) -> None:
        """If all templates are ours there is nothing to try, and no error."""
        self.assertEqual(template_checks.problems(config(), ()), [])


class LaterTests(TemplateCase):
    """A template that is changed while the service runs, and fails then."""

    def about_templates(self, logs: Sequence[LogEvent]) -> list[str]:
        """The lines other than those about the refused request."""
        return [line for line in map(str, map(formatEvent, logs)) if "refused" not in line[:7]]

    def test_ours(self) -> None:
        """Ours replaces it, for a page and for a refusal, and the log says why."""
        self.write("register.html", "theirs")
        self.write("refused.html", "theirs")
        self.start()
        self.assertPage(self.client.get(PAGE), 200, "theirs")
        self.write("register.html", BROKEN)
        with capturedLogs() as logs:
            self.assertPage(self.client.get(PAGE), 200, "Create an account on")
        (line,) = map(formatEvent, logs)
        self.assertIn("'register.html' cannot be rendered: UndefinedError", line)
        self.assertIn("the built-in template is used instead", line)
        self.write("refused.html", "{% if %}")
        path = f"{V3}/auth/m.login.terms/fallback/web?session=nobodys"
        with capturedLogs() as logs:
            self.assertPage(self.client.get(path), 404, "That did not work")
        self.assertEqual(len(self.about_templates(logs)), 1)

    def test_policy(self) -> None:
        """A policy's page, for which there is none of ours, is a styled refusal."""
        pages = write_pages(self.theirs / "pages", "1.0")
        self.start(**user_consent(pages, require_at_registration=False))
        for text in (BROKEN, "{% if %}"):
            self.write("pages/en/1.0.html", text)
            with capturedLogs() as logs:
                answer = self.client.get("/_matrix/consent")
            self.assertPage(answer, 503, "That did not work", "try again")
            (line,) = self.about_templates(logs)
            self.assertIn("en/1.0.html' cannot be rendered", line)
