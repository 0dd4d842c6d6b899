"""Renders pages and mails from jinja2 templates, ours or others', in the reader's language."""

from __future__ import annotations

import gettext
import traceback
from pathlib import Path
from typing import Any, Mapping, Sequence
from urllib.parse import urlsplit

import attr
from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
    Undefined,
    select_autoescape,
)
from twisted.logger import Logger

from regsys.templates.static_files import STATIC_PATH, served_files, version

_log = Logger()
HERE = Path(__file__).parent
LOCALES = HERE.parent / "locale"

SOURCE_LANGUAGE = "en"


def best_language(wanted: Sequence[str], offered: Sequence[str]) -> str:
    """The first of the ``wanted`` language tags that is offered, where ``de`` serves for ``de-AT``;
    else English, else the first offered one. ``offered`` has at least one."""
    by_tag = {tag.lower(): tag for tag in offered}
    for tag in wanted:
        match = by_tag.get(tag) or by_tag.get(tag.split("-")[0])
        if match:
            return match
    return by_tag.get(SOURCE_LANGUAGE, offered[0])


class Catalogue(gettext.GNUTranslations):
    """The sentences of one language."""

    _catalog: dict[Any, str]  # the base class's own, which has no public name

    @property
    def messages(self) -> Mapping[str, str]:
        """The translated sentences, by the English ones."""
        return {english: text for english, text in self._catalog.items() if english}


@attr.frozen
class Templates:
    """Renders templates by their file name. ``_ours`` renders built-in templates only; it is empty
    if there are no others."""

    _environments: Mapping[str, Environment]
    _ours: Mapping[str, Environment] = attr.field(factory=dict)

    @classmethod
    def load(
        cls,
        public_baseurl: str,
        directories: Sequence[str] = (),
        undefined: type[Undefined] = StrictUndefined,
    ) -> Templates:
        """``public_baseurl``: all URLs of ours begin with its path. ``directories``: templates in
        these are used, in this order, instead of the built-in ones. ``undefined``: jinja2's class
        for undefined variables."""
        root = urlsplit(public_baseurl).path
        addresses = {
            name: f"{root}{STATIC_PATH}{name}?v={version(content)}"
            for name, content in served_files().items()
        }
        languages = [SOURCE_LANGUAGE, *(path.name for path in sorted(LOCALES.glob("*/")))]

        def environments(directories: Sequence[str]) -> Mapping[str, Environment]:
            return {
                language: _environment(language, root, addresses, directories, undefined)
                for language in languages
            }

        return cls(environments(directories), environments(()) if directories else {})

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self._environments)

    def render(self, name: str, languages: Sequence[str], **values: Any) -> str:
        """The rendered template, in the best of the reader's ``languages``. Its variables are the
        ``values``, and ``language``, ``root`` (the path that all our URLs begin with),
        ``static(file)``, ``translated(sentence)``, ``catalogue`` (what scripts may say in its
        language: their sentences and those of errors), and ``wanted`` (the ``languages``) with
        ``best_language``, for content that has languages of its own.

        Templates are checked at the start. If one fails later, because it has changed since, the
        built-in one of that name is rendered instead, if there is one, and an error is logged.
        """
        language = best_language(languages, self.languages)
        try:
            return self.render_strictly(name, languages, **values)
        except Exception as error:  # a template may do anything
            if language not in self._ours or not (HERE / name).is_file():
                raise
            try:
                page = self._ours[language].get_template(name).render(wanted=languages, **values)
            except Exception:  # the built-in one includes the template that fails
                raise error from None
            _log.error(
                "{problem}: the built-in template is used instead", problem=fault(name, error)
            )
            return page

    def render_strictly(self, name: str, languages: Sequence[str], **values: Any) -> str:
        """As ``render``, but raises the error of a template that fails."""
        language = best_language(languages, self.languages)
        return self._environments[language].get_template(name).render(wanted=languages, **values)

    def compile(self, name: str) -> None:
        """Compile a template without rendering it. Raises TemplateError."""
        self._environments[SOURCE_LANGUAGE].get_template(name)


def fault(name: str, error: Exception) -> str:
    """One line on what is wrong with a template, without the values of its variables. The error may
    be in another template that it includes."""
    kind = type(error).__name__
    # The message of any other exception may quote a value.
    reason = (
        f"{kind}: {' '.join((error.message or '').split())}"
        if isinstance(error, TemplateError)
        else kind
    )
    return f"the template {name!r} cannot be rendered: {reason}{_place(error)}"


def _place(error: Exception) -> str:
    """The line of the error: jinja2 puts the lines of templates into tracebacks."""
    if isinstance(error, TemplateSyntaxError):
        return f" (line {error.lineno} of {error.filename or error.name})"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame for frame in frames if not frame.filename.endswith(".py")]
    return f" (line {lines[-1].lineno} of {lines[-1].filename})" if lines else ""


def _environment(
    language: str,
    root: str,
    addresses: Mapping[str, str],
    directories: Sequence[str],
    undefined: type[Undefined],
) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([*directories, HERE]),
        # Mails have a text part, which must not be escaped.
        autoescape=select_autoescape(disabled_extensions=("txt",), default=True),
        undefined=undefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        language=language,
        root=root,
        static=addresses.__getitem__,
        catalogue={},
        best_language=best_language,
    )
    translations = gettext.translation("regsys", LOCALES, [language], fallback=True)
    scripts = gettext.translation("scripts", LOCALES, [language], Catalogue, fallback=True)
    if isinstance(scripts, Catalogue):
        environment.globals["catalogue"] = scripts.messages
    # For sentences that are not written in a template, such as an error's. The result is plain text
    # that templates escape.
    environment.globals["translated"] = translations.gettext
    environment.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]  # the extension's
    return environment
