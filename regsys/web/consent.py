"""GET, POST /_matrix/consent: policies, which anyone may read and a user's own link accepts (B13).

The pages are an administrator's templates. They see ``version``, ``policy`` (its name),
``public_version`` (True without a user's link), and for a user's link ``user`` and ``userhmac``,
which a form sends back, and ``has_consented``.
"""

from __future__ import annotations

import os
from typing import Mapping, Optional, Sequence

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


@attr.define
class PolicyTemplates:
    """Finds the pages of policies in the administrator's files."""

    terms: TermsConfig
    _environments: dict[str, Environment] = attr.field(factory=dict, init=False)

    def page(self, name: str, version: str, wanted: Sequence[str]) -> Template:
        """The page of a policy, in the best of the ``wanted`` languages. Raises PolicyNotFound."""
        if VERSION.fullmatch(version):
            found = self._best(self._paths(name, version), wanted)
            if found is not None:
                return found
        raise PolicyNotFound()

    def thanks(self, name: str, wanted: Sequence[str]) -> Optional[Template]:
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

    def _best(self, paths: Mapping[str, TemplatePath], wanted: Sequence[str]) -> Optional[Template]:
        existing = [
            language for language, path in paths.items() if os.path.isfile(os.path.join(*path))
        ]
        if not existing:
            return None
        directory, file = paths[best_language(wanted, existing)]
        if directory not in self._environments:
            loader = FileSystemLoader(directory or ".")
            self._environments[directory] = Environment(loader=loader, autoescape=True)
        try:
            return self._environments[directory].get_template(file)
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
                loader = FileSystemLoader(directory or ".")
                environment = Environment(loader=loader, autoescape=True)
                try:
                    for who in ("", "alice"):
                        values = _values(name, policy.version, who, "0" * 64, bool(who))
                        environment.get_template(file).render(values)
                except Exception as error:  # a template may raise anything
                    found.append(f"{fault(os.path.join(directory, file), error)} — mend it")
        return found


def policies(consents: Consents, pages: Pages) -> Endpoint:
    templates = PolicyTemplates(consents.terms)

    async def get(call: Call) -> Reply:
        name = call.query("p") or PRIVACY_POLICY
        version = call.query("v") or _current(consents.terms, name)
        template = templates.page(name, version, _languages(call))
        who, signature = call.query("u") or "", call.query("h") or ""
        accepted = False
        if who:
            user_id = await consents.owner(who, signature)
            accepted = await consents.has_accepted(user_id, name, version)
        html = _render(template, _values(name, version, who, signature, accepted))
        return Reply(Page(html, ADMINISTRATORS_SOURCES))

    async def post(call: Call) -> Reply:
        form = call.form()
        name = form.get("p") or PRIVACY_POLICY
        who, signature, version = (json_body.required_string(form, key) for key in ("u", "h", "v"))
        # Only a policy that can be read can be accepted.
        templates.page(name, version, ())
        await consents.accept(await consents.owner(who, signature), name, version)
        thanks = templates.thanks(name, call.languages)
        if thanks is None:
            return pages.reply(call, "consent_given.html")
        return Reply(Page(_render(thanks, {}), ADMINISTRATORS_SOURCES))

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


def _render(template: Template, values: Mapping[str, object]) -> str:
    try:
        return template.render(values)
    except Exception as error:  # a template may raise anything
        raise cannot_render(template.name or "", error) from None


def _current(terms: TermsConfig, name: str) -> str:
    if name not in terms.policies:
        raise PolicyNotFound()
    return terms.policies[name].version


def _languages(call: Call) -> Sequence[str]:
    """The reader's languages, after that of the link, if it has one."""
    chosen = call.query("lang")
    return call.languages if chosen is None else (chosen.lower(), *call.languages)
