"""Policies for tests: an administrator's pages, and options that use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

TERMS = "m.login.terms"
FORM_SECRET = "signs the links of this test"
CANARY = "<x onload>"
# As administrators have written them for years: a relative form, styles of their own.
PAGE = """<!doctype html>
<style>p { color: green }</style>
<p>{{ language_of_page }}version {{ version }} of us</p>
{% if not public_version %}
{% if has_consented %}<p>Agreed.</p>{% else %}
<form method="post" action="consent">
<input type="hidden" name="v" value="{{version}}"/>
<input type="hidden" name="u" value="{{user}}"/>
<input type="hidden" name="h" value="{{userhmac}}"/>
<input type="submit" value="Agree">
</form>
{% endif %}{% endif %}
"""


def write_pages(folder: Path, *versions: str, language: str = "en") -> Path:
    """Pages of the privacy policy in these versions, ``folder`` being its directory."""
    (folder / language).mkdir(parents=True, exist_ok=True)
    for version in versions:
        page = PAGE.replace("{{ language_of_page }}", f"{language}, ")
        (folder / language / f"{version}.html").write_text(page)
    return folder


def user_consent(folder: Path, version: str = "1.0", **more: Any) -> Mapping[str, Any]:
    """Options for the privacy policy of ``write_pages``, which new users must accept."""
    section = {
        "template_dir": str(folder),
        "version": version,
        "require_at_registration": True,
        **more,
    }
    return {"user_consent": section, "form_secret": FORM_SECRET}
