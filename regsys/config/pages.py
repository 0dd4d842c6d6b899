"""``regsys: {pages}``: whose the pages are, and which apps they lead to (contract B13)."""

from __future__ import annotations

import os
import re
from typing import Mapping, Optional
from urllib.parse import urlsplit
from xml.parsers import expat

import attr

from regsys.config.values import Reader, is_url
from regsys.templates.brand import SVG, Brand, BrandFile, Link
from regsys.templates.colours import COLOUR

# Every visitor loads it: the bytes of a logo.
LOGO_LIMIT = 128 * 1024
# The characters of a name, of a link's text and of an app's name.
_TEXT_LIMIT = 100
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[0-9A-Za-z]{2,8})*")
_MAIL = re.compile(r"mailto:[\x21-\x7e]+@[\x21-\x7e]+")
_SVG_ROOT = "http://www.w3.org/2000/svg svg"
_LOGO_MEND = "save it as SVG, PNG, WebP or JPEG"


@attr.frozen
class App:
    """An app in which a new user can sign in: its name, and where it is."""

    name: str
    url: str

    @classmethod
    def at(cls, url: str) -> App:
        """One that is called by its host."""
        return cls(urlsplit(url).netloc, url)


@attr.frozen(kw_only=True)
class PagesConfig:
    """``client_url``: where users sign in in a browser; None if that is not known. ``clients``:
    further apps."""

    brand: Brand
    client_url: Optional[str] = None
    clients: tuple[App, ...] = ()

    @property
    def apps(self) -> tuple[App, ...]:
        """All apps, the one of ``client_url`` first, which bears the name of its host."""
        if self.client_url is None:
            return self.clients
        return (App.at(self.client_url), *self.clients)


def read_pages(section: Reader, server_name: str) -> PagesConfig:
    """Without a name of its own the service has that of its server."""
    accent = section.text("accent")
    if accent is not None and not COLOUR.fullmatch(accent):
        mend = 'write it as "#0a5aa8", in quotes: two digits each of red, green and blue'
        section.problem("accent", "not a colour", mend, accent)
        accent = None
    return PagesConfig(
        brand=Brand(
            name=_read_line(section, "name") or server_name,
            logo=_read_logo(section),
            accent=accent and accent.lower(),
            links=tuple(map(_read_link, section.items("links"))),
        ),
        client_url=_read_website(section, "client_url"),
        clients=tuple(map(_read_app, section.items("clients"))),
    )


def _read_app(item: Reader) -> App:
    name, url = _read_line(item, "name"), _read_website(item, "url")
    for option, mend in (("name", "write the app's name"), ("url", "write the app's address")):
        _need(item, option, mend)
    return App(name or "", url or "")


def _need(item: Reader, name: str, mend: str) -> None:
    if item.data.get(name) in (None, ""):
        item.problem(name, "missing", mend)


def _read_website(section: Reader, name: str) -> Optional[str]:
    url = section.text(name)
    if url is not None and not is_url(url):
        section.problem(name, "not the address of a website", "write it with https://", url)
        return None
    return url


def _read_line(section: Reader, name: str) -> Optional[str]:
    text = section.text(name)
    return None if text is None or not _is_line(section, name, text) else text


def _is_line(section: Reader, name: str, text: str) -> bool:
    is_good = text.isprintable() and bool(text.strip()) and len(text) <= _TEXT_LIMIT
    if not is_good:
        mend = f"write one line of at most {_TEXT_LIMIT} characters"
        section.problem(name, "not a line of text", mend, text)
    return is_good


# --- Links -----------------------------------------------------------------------------------


def _read_link(item: Reader) -> Link:
    url = item.text("url")
    _need(item, "url", "write where the link leads")
    if url is not None and not (is_url(url) or _MAIL.fullmatch(url)):
        mend = "write an address that begins with https:// or mailto:"
        item.problem("url", "not a link that pages may have", mend, url)
    return Link(_read_texts(item), url or "")


def _read_texts(item: Reader) -> Mapping[str, str]:
    mend = 'write the words of the link, or those of each language: {en: "…", de: "…"}'
    given = item.data.get("text")
    if given in (None, "", {}):
        item.take("text")
        item.problem("text", "missing", mend)
        return {}
    if not isinstance(given, Mapping):
        text = _read_line(item, "text")
        return {} if text is None else {"": text}
    section, texts = item.section("text"), {}
    for language in given:
        if not _LANGUAGE.fullmatch(str(language)):
            section.take(language)
            tag = 'write a tag such as en or pt-BR, in quotes if it is "no"'
            section.problem(language, "not a language", tag)
            continue
        _need(section, language, mend)
        text = _read_line(section, language)
        if text is not None:
            texts[language] = text
    return texts


# --- The logo --------------------------------------------------------------------------------


def _read_logo(section: Reader) -> Optional[BrandFile]:
    path = section.file("logo")
    if path is None or not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            content = file.read(LOGO_LIMIT + 1)
    except OSError:
        return None  # it has been reported
    if len(content) > LOGO_LIMIT:
        mend = "make it smaller: every visitor loads it"
        section.problem("logo", f"larger than {LOGO_LIMIT // 1024} KiB", mend, path)
        return None
    found = _picture_type(content)
    if found is None:
        section.problem("logo", "not a picture that browsers show", _LOGO_MEND, path)
        return None
    return BrandFile(content, found)


def _picture_type(content: bytes) -> Optional[str]:
    """The media type that the content itself shows, whatever the file is called."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return SVG if _is_svg(content) else None


def _is_svg(content: bytes) -> bool:
    """Whether it is well-formed XML whose root is SVG's. (expat stops entities that would grow
    without end.)"""
    names: list[str] = []

    def begin(name: str, attributes: object) -> None:
        names.append(name)

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = begin
    try:
        parser.Parse(content, True)
    except expat.ExpatError:
        return False
    return names[0] == _SVG_ROOT
