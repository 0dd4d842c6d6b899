"""The policies that users accept: ``user_consent`` and those of ``regsys.policies``."""

from __future__ import annotations

import os
import re
from typing import Any, Mapping, Optional, Sequence
from urllib.parse import urlsplit

import attr

from regsys.config.listeners import Listener
from regsys.config.values import Reader
from regsys.model import Secret

# The policy of ``user_consent``, and the language of its name (contract B8.9).
PRIVACY_POLICY = "privacy_policy"
ENGLISH = "en"
_DEFAULT_NAME = "Privacy Policy"

# The page that follows an acceptance; its file is beside those of the versions.
SUCCESS = "success"
# Names of policies, versions and languages become parts of URLs, versions also of paths.
VERSION = re.compile(rf"(?!{SUCCESS}$)[0-9A-Za-z][0-9A-Za-z._-]{{0,63}}")
_POLICY = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[0-9A-Za-z]{2,8})*")
_VERSION_MEND = 'write letters, digits, ".", "_" or "-", in quotes, such as "1.0"'


@attr.frozen(kw_only=True)
class PolicyText:
    """A policy in one language. ``url``: the page is on another server; ``file``: a template that
    we serve. If both are None, the page is in ``TermsConfig.template_dir``."""

    name: str
    url: Optional[str] = None
    file: Optional[str] = None


@attr.frozen(kw_only=True)
class Policy:
    """A policy. ``texts`` by language; ``at_registration``: new users must accept it."""

    version: str
    texts: Mapping[str, PolicyText]
    at_registration: bool = True


@attr.frozen(kw_only=True)
class TermsConfig:
    """``policies`` by name. If ``template_dir`` is None, there is no ``user_consent``. If
    ``form_secret`` is None, there are no personal links to the consent pages."""

    policies: Mapping[str, Policy] = attr.field(factory=dict)
    template_dir: Optional[str] = None
    form_secret: Optional[Secret] = attr.field(default=None, repr=False)

    @property
    def at_registration(self) -> Mapping[str, Policy]:
        """The policies that new users must accept, by name."""
        return {name: policy for name, policy in self.policies.items() if policy.at_registration}


def read_terms(reader: Reader, listeners: Sequence[Listener]) -> TermsConfig:
    section = reader.section("user_consent")
    consent = _read_user_consent(section)
    policies = _read_policies(reader.section("regsys").section("policies"))
    if consent is not None and PRIVACY_POLICY in policies:
        reader.problem(
            f"regsys.policies.{PRIVACY_POLICY}",
            "given twice, here and by user_consent",
            "keep one of the two",
        )
    secret = reader.secret("form_secret")
    terms = TermsConfig(
        policies=policies if consent is None else {PRIVACY_POLICY: consent, **policies},
        template_dir=None if consent is None else section.text("template_dir"),
        form_secret=secret,
    )
    if consent is not None and secret is None:
        reader.warnings.append(
            "user_consent is set, but form_secret is not: its pages can be read, but there are "
            "no links by which a user could accept them."
        )
    if _has_pages(terms) and not any("consent" in listener.resources for listener in listeners):
        reader.warnings.append(
            "There are policies to be read here, but no listener serves them: "
            "add consent to the names of its resources."
        )
    return terms


def _has_pages(terms: TermsConfig) -> bool:
    texts = [text for policy in terms.policies.values() for text in policy.texts.values()]
    return any(text.url is None for text in texts)


def _read_user_consent(section: Reader) -> Optional[Policy]:
    """The policy of ``user_consent``; None if nothing, or only a default, is set."""
    is_set = any(value not in (None, False, _DEFAULT_NAME) for value in section.data.values())
    directory, version = section.text("template_dir"), _read_version(section, is_set)
    name = section.text("policy_name") or _DEFAULT_NAME
    required = section.flag("require_at_registration")
    if not is_set:
        return None
    if directory is None:
        section.problem("template_dir", "missing", "name the directory with your policy's pages")
    elif not os.path.isdir(directory):
        section.problem("template_dir", "not a directory", "mend the path", directory)
    elif version is not None:
        page = os.path.join(directory, ENGLISH, f"{version}.html")
        if not os.path.isfile(page):
            mend = f"write the policy to {page}; a version like 1.10 needs quotes"
            section.problem("version", "has no page", mend, version)
    return Policy(
        version=version or "",
        texts={ENGLISH: PolicyText(name=name)},
        at_registration=required,
    )


def _read_policies(section: Reader) -> Mapping[str, Policy]:
    found = {}
    for name in section.data:
        if _POLICY.fullmatch(str(name)):
            found[name] = _read_policy(section.section(name))
        else:
            section.take(name)
            mend = "write lower-case letters, digits and _, such as terms_of_service"
            section.problem(name, "not a name for a policy", mend)
    return found


def _read_policy(section: Reader) -> Policy:
    version = _read_version(section)
    languages = [name for name in section.data if name != "version"]
    texts = {}
    for language in languages:
        if _LANGUAGE.fullmatch(str(language)):
            texts[language] = _read_text(section.section(language))
        else:
            section.take(language)
            mend = 'write a tag such as en or pt-BR, in quotes if it is "no"'
            section.problem(language, "not a language", mend)
    if not languages:
        mend = 'give its text in one language at least: en: {name: "…", url: "https://…"}'
        section.problem(ENGLISH, "missing", mend)
    return Policy(version=version or "", texts=texts)


def _read_text(section: Reader) -> PolicyText:
    name, url, file = section.text("name"), section.text("url"), section.text("file")
    if name is None:
        section.problem("name", "missing", "write the policy's name as users read it")
    if (url is None) == (file is None):
        section.problem("url", "a policy has either a url or a file", "keep exactly one of them")
    if url is not None and not _is_website(url):
        section.problem("url", "not the address of a page", "write an https address", url)
    if file is not None and not os.path.isfile(file):
        section.problem("file", "there is no such file", "mend the path, or write the page", file)
    return PolicyText(name=name or "", url=url, file=file)


def _read_version(section: Reader, is_needed: bool = True) -> Optional[str]:
    """The version; YAML reads one such as 1.0 as a number."""
    value: Any = section.take("version")
    if value is None:
        if is_needed:
            section.problem("version", "missing", _VERSION_MEND)
        return None
    if isinstance(value, bool) or not VERSION.fullmatch(str(value)):
        section.problem("version", "not a version", _VERSION_MEND, value)
        return None
    return str(value)


def _is_website(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable()
    except ValueError:
        return False
