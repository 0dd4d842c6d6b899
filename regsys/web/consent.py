"""GET, POST /_matrix/consent: policies, which anyone may read and a user's own link accepts (B13).

The pages are an administrator's templates: whole pages, or the text alone, which is shown in the
frame of our pages, with the form by which a user accepts it. They see ``version``, ``policy`` (its
name), ``public_version`` (True without a user's link), and for a user's link ``user`` and
``userhmac``, which a form sends back, and ``has_consented``.
"""

from __future__ import annotations

import os
import re
from typing import Any, Mapping, Optional, Sequence

import attr
from jinja2 import Environment, FileSystemLoader, Template

from regsys import consent, json_body
from regsys.config import TermsConfig
from regsys.config.terms import PRIVACY_POLICY, SUCCESS, VERSION
from regsys.consent import Consents
from regsys.errors import PolicyNotFound
from regsys.http import Call, Endpoint, Reply
from regsys.http.reply import Page
from regsys.templates import best_language, fault
from regsys.web.pages import ADMINISTRATORS_SOURCES, Pages, cannot_render

# A directory of templates, and a file below it.
TemplatePath = tuple[str, str]
# What a whole page has and a text for our frame has not.
_WHOLE = re.compile(r"<(!doctype|html|head|body)\b", re.IGNORECASE)


# What a template looks at that has users accept it by itself.
_ASKS = re.compile(r"userhmac|has_consented")


@attr.frozen
class PolicyPage:
    """A template, and the language that it is in. ``asks``: it has a form of its own by which a
    user accepts it."""

    template: Template
    language: str
    asks: bool

    def render(self, values: Mapping[str, object]) -> str:
        """Raises Unavailable; its reason is logged."""
        try:
            return self.template.render(values)
        except Exception as error:  # a template may raise anything
            raise cannot_render(self.template.name or "", error) from None


@attr.define
class PolicyTemplates:
    """Finds the pages of policies in the administrator's files."""

    terms: TermsConfig
    _environments: dict[str, tuple[FileSystemLoader, Environment]] = attr.field(
        factory=dict, init=False
    )

    def page(self, name: str, version: str, wanted: Sequence[str]) -> PolicyPage:
        """The page of a policy, in the best of the ``wanted`` languages. Raises PolicyNotFound."""
        if VERSION.fullmatch(version):
            found = self._best(self._paths(name, version), wanted)
            if found is not None:
                return found
        raise PolicyNotFound()

    def thanks(self, name: str, wanted: Sequence[str]) -> Optional[PolicyPage]:
        """The page after an acceptance; None if there is no such template."""
        return self._best(self._paths(name, SUCCESS), wanted)

    def _paths(self, name: str, version: str) -> Mapping[str, TemplatePath]:
        """The paths at which a page may be, by language."""
        directory = self.terms.template_dir
        if directory is not None and name == PRIVACY_POLICY:
            with os.scandir(directory) as entries:
                languages = sorted(entry.name for entry in entries if entry.is_dir())
            return {language: (directory, f"{language}/{version}.html") for language in languages}
        policy = self.terms.policies.get(name)
        if policy is None or policy.version != version:
            return {}
        return {
            language: os.path.split(text.file)
            for language, text in policy.texts.items()
            if text.file is not None
        }

    def _best(
        self, paths: Mapping[str, TemplatePath], wanted: Sequence[str]
    ) -> Optional[PolicyPage]:
        existing = [
            language for language, path in paths.items() if os.path.isfile(os.path.join(*path))
        ]
        if not existing:
            return None
        language = best_language(wanted, existing)
        directory, file = paths[language]
        if directory not in self._environments:
            self._environments[directory] = _environment(directory)
        loader, environment = self._environments[directory]
        try:
            source, _, _ = loader.get_source(environment, file)
            template = environment.get_template(file)
            return PolicyPage(template, language, asks=_ASKS.search(source) is not None)
        except Exception as error:  # it may have been changed since the start
            raise cannot_render(file, error) from None

    def problems(self) -> list[str]:
        """What is wrong with the current pages of all policies, in each language."""
        found = []
        for name, policy in self.terms.policies.items():
            paths = [
                *self._paths(name, policy.version).values(),
                *self._paths(name, SUCCESS).values(),
            ]
            for directory, file in paths:
                if not os.path.isfile(os.path.join(directory, file)):
                    continue  # the configuration has checked the required ones
                _, environment = _environment(directory)
                try:
                    for who in ("", "alice"):
                        values = _values(name, policy.version, who, "0" * 64, bool(who))
                        environment.get_template(file).render(values)
                except Exception as error:  # a template may raise anything
                    found.append(f"{fault(os.path.join(directory, file), error)} — mend it")
        return found


def _environment(directory: str) -> tuple[FileSystemLoader, Environment]:
    loader = FileSystemLoader(directory or ".")
    return loader, Environment(loader=loader, autoescape=True)


def policies(consents: Consents, pages: Pages) -> Endpoint:
    terms = consents.terms
    templates = PolicyTemplates(terms)

    async def get(call: Call) -> Reply:
        name = call.query("p") or PRIVACY_POLICY
        version = call.query("v") or _current(terms, name)
        call = _in_chosen_language(call)
        found = templates.page(name, version, call.languages)
        who, signature = call.query("u") or "", call.query("h") or ""
        accepted = False
        if who:
            user_id = await consents.owner(who, signature)
            accepted = await consents.has_accepted(user_id, name, version)
        values = _values(name, version, who, signature, accepted)
        texts = terms.policies[name].texts
        title = texts[best_language(call.languages, list(texts))].name
        return shown(
            call, "policy.html", found, values, policy_name=title, asks=not found.asks, **values
        )

    async def post(call: Call) -> Reply:
        form = call.form()
        name = form.get("p") or PRIVACY_POLICY
        who, signature, version = (json_body.required_string(form, key) for key in ("u", "h", "v"))
        # Only a policy that can be read can be accepted.
        templates.page(name, version, ())
        await consents.accept(await consents.owner(who, signature), name, version)
        thanks = templates.thanks(name, call.languages)
        if thanks is None:
            return pages.reply(call, "consent_given.html", content=None)
        return shown(call, "consent_given.html", thanks, {})

    def shown(
        call: Call,
        frame: str,
        found: PolicyPage,
        values: Mapping[str, object],
        **of_frame: Any,
    ) -> Reply:
        """A whole page as it is, a text in our frame."""
        html = found.render(values)
        if _WHOLE.search(html):
            return Reply(Page(html, ADMINISTRATORS_SOURCES))
        return pages.reply(
            call,
            frame,
            sources=ADMINISTRATORS_SOURCES,
            content=html,
            written_in=found.language,
            **of_frame,
        )

    handlers = {"GET": pages.handler(get), "POST": pages.handler(post)}
    return Endpoint("consent", (f"/{consent.PATH}",), handlers)


def _values(
    name: str, version: str, who: str, signature: str, accepted: bool
) -> Mapping[str, object]:
    """The values for a policy's template."""
    return {
        "policy": name,
        "version": version,
        "user": who,
        "userhmac": signature if who else "",
        "has_consented": accepted,
        "public_version": not who,
    }


def _current(terms: TermsConfig, name: str) -> str:
    if name not in terms.policies:
        raise PolicyNotFound()
    return terms.policies[name].version


def _in_chosen_language(call: Call) -> Call:
    """The call with the language of its link, if it has one, before the reader's."""
    chosen = call.query("lang")
    if chosen is None:
        return call
    return attr.evolve(call, languages=(chosen.lower(), *call.languages))
