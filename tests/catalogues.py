"""``python -m tests.catalogues``: update ``regsys/locale``, and report what is untranslated.

A sentence that is new or has changed stands in each catalogue without a translation; write that
into the ``.po``, and run this again for the ``.mo``. There are two: ``scripts.mo`` has what scripts
may show, their own sentences and those of errors, because a page brings it along.
"""

from __future__ import annotations

import io
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Iterator

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from regsys.errors import RegistrationError
from regsys.templates import LOCALES

LANGUAGES = ("de", "fr")
PACKAGE = LOCALES.parent
METHODS = [
    ("**/templates/**", "jinja2"),
    ("templates/**", "jinja2"),
    ("static/**.js", "javascript"),
    ("**.py", "python"),
]
JINJA = {"trimmed": "false", "newstyle_gettext": "true", "silent": "false"}
OPTIONS = {"**/templates/**": JINJA, "templates/**": JINJA}
# Functions whose argument is a sentence for users, and which argument that is.
KEYWORDS = {
    "_": None,
    "gettext": None,
    "StageFailed": (2,),
    "sentence": None,
    "InvalidParam": (1,),
    "InvalidUsername": (1,),
    "Unavailable": (1,),
    "UnknownPath": (1,),
    "LimitExceeded": (2,),
    "PasswordRefused": (2,),
    "ValidationRefused": (2,),
}
_NAMED = re.compile("'[a-z_.]+'")
# Babel's own header has fields for translators, of whom we have none.
HEADER = """\
# What regsys says to people.
msgid ""
msgstr ""
"Language: {}\\n"
"Content-Type: text/plain; charset=utf-8\\n"

"""


def sentences() -> Iterator[tuple[str, str]]:
    """All sentences of pages, each with the file that has it."""
    for name, _, message, _, _ in extract_from_dir(PACKAGE, METHODS, OPTIONS, KEYWORDS):
        # Those with a name in quotes are for programs: no page sends a request that causes them.
        if isinstance(message, str) and not _NAMED.search(message):
            yield message, name
    for kind in _kinds(RegistrationError):
        yield kind.sentence, f"{kind.__module__.removeprefix('regsys.').replace('.', '/')}.py"


def template() -> Catalog:
    """A catalogue of all sentences, none translated."""
    catalogue = Catalog(fuzzy=False)
    for sentence, place in sorted(sentences(), key=lambda found: (found[1], found[0])):
        catalogue.add(sentence, locations=[(place, None)])
    return catalogue


def path(language: str) -> Path:
    """The path of the ``.po``; the ``.mo`` lies beside it."""
    return LOCALES / language / "LC_MESSAGES/regsys.po"


def read(language: str) -> Catalog:
    with path(language).open("rb") as file:
        return read_po(file, language)


def compiled(catalogue: Catalog) -> bytes:
    """The ``.mo`` of a catalogue."""
    file = io.BytesIO()
    # Otherwise each run would write another file.
    catalogue.creation_date = datetime(2000, 1, 1)
    write_mo(file, catalogue)
    return file.getvalue()


def for_scripts(catalogue: Catalog) -> Catalog:
    """The sentences that do not stand in templates alone."""
    chosen = Catalog(catalogue.locale)
    for message in catalogue:
        places = [place for place, _ in message.locations]
        if message.id and any(not place.startswith("templates/") for place in places):
            chosen.add(message.id, message.string)
    return chosen


def missing(catalogue: Catalog) -> list[str]:
    """The sentences without a translation."""
    known = {message.id for message in catalogue if message.string and not message.fuzzy}
    return sorted({sentence for sentence, _ in sentences()} - known)


def update(language: str) -> Catalog:
    """Update the files of one language."""
    target = path(language)
    target.parent.mkdir(parents=True, exist_ok=True)
    catalogue = read(language) if target.exists() else Catalog(language)
    catalogue.update(template(), no_fuzzy_matching=True)
    with target.open("wb") as file:
        file.write(HEADER.format(language).encode())
        write_po(file, catalogue, omit_header=True, ignore_obsolete=True, include_lineno=False)
    target.with_suffix(".mo").write_bytes(compiled(catalogue))
    target.with_name("scripts.mo").write_bytes(compiled(for_scripts(catalogue)))
    return catalogue


def _kinds(kind: type[RegistrationError]) -> Iterator[type[RegistrationError]]:
    if kind.__module__ == "regsys.errors":
        yield kind
    for more in kind.__subclasses__():
        yield from _kinds(more)


def main() -> int:
    """Update all languages; the exit code is 1 as long as a sentence is untranslated."""
    untranslated = 0
    for language in LANGUAGES:
        for sentence in missing(update(language)):
            untranslated += 1
            print(f"{language}: {sentence}")
    return 1 if untranslated else 0


if __name__ == "__main__":
    sys.exit(main())
