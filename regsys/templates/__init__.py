"""Pages and mails: jinja2 templates, ours or an administrator's, in the reader's language."""

from __future__ import annotations

import gettext
import hashlib
from pathlib import Path
from typing import Any, Mapping, Sequence
from urllib.parse import urlsplit

import attr
from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    Undefined,
    select_autoescape,
)

HERE = Path(__file__).parent
LOCALES = HERE.parent / "locale"
STATIC = HERE.parent / "static"
# Where the files of pages are served, below the service's public address.
STATIC_PATH = "_matrix/static/regsys/"

SOURCE_LANGUAGE = "en"


def best_language(wanted: Sequence[str], offered: Sequence[str]) -> str:
    """The first of the ``wanted`` language tags that is on offer, a plain ``de`` serving
    ``de-AT``; else English, else the first on offer. ``offered`` has at least one."""
    by_tag = {tag.lower(): tag for tag in offered}
    for tag in wanted:
        found = by_tag.get(tag) or by_tag.get(tag.split("-")[0])
        if found:
            return found
    return by_tag.get(SOURCE_LANGUAGE, offered[0])


def static_files() -> Mapping[str, Path]:
    """The files that pages need, by their path below ``STATIC_PATH``."""
    found = (path for path in sorted(STATIC.rglob("*")) if path.is_file())
    return {path.relative_to(STATIC).as_posix(): path for path in found}


class Catalogue(gettext.GNUTranslations):
    """The sentences of one language."""

    _catalog: dict[Any, str]  # the base class's own, which has no public name

    @property
    def messages(self) -> Mapping[str, str]:
        """Each sentence by its English one."""
        return {english: text for english, text in self._catalog.items() if english}


@attr.frozen
class Templates:
    """Renders templates by their file name."""

    _environments: Mapping[str, Environment]

    @classmethod
    def load(
        cls,
        public_baseurl: str,
        directories: Sequence[str] = (),
        undefined: type[Undefined] = StrictUndefined,
    ) -> Templates:
        """``public_baseurl``: all our addresses are below its path. ``directories``: templates
        that are found here are taken, in this order, before ours. ``undefined``: what becomes
        of a variable that a template does not get."""
        root = urlsplit(public_baseurl).path
        addresses = {
            name: f"{root}{STATIC_PATH}{name}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
            for name, path in static_files().items()
        }
        languages = [path.name for path in sorted(LOCALES.glob("*/"))]
        return cls(
            {
                language: _environment(language, root, addresses, directories, undefined)
                for language in (SOURCE_LANGUAGE, *languages)
            }
        )

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self._environments)

    def render(self, name: str, languages: Sequence[str], **values: Any) -> str:
        """The template, in the best of the reader's ``languages``; it sees ``values``, and
        ``language``, ``root`` (the path that all our addresses begin with), ``static(file)``,
        ``translated(sentence)`` and, for scripts, the whole ``catalogue`` of its language;
        ``wanted``, which are the ``languages``, and ``best_language`` for what has its own."""
        language = best_language(languages, self.languages)
        return self._environments[language].get_template(name).render(wanted=languages, **values)


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
    translations = gettext.translation("regsys", LOCALES, [language], Catalogue, fallback=True)
    if isinstance(translations, Catalogue):
        environment.globals["catalogue"] = translations.messages
    # For sentences that are not written in a template, such as a refusal's: plain text, which is
    # escaped where it is shown.
    environment.globals["translated"] = translations.gettext
    environment.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]  # the extension's
    return environment
