"""The ``email`` section: how mails are sent, from whom, and in what words."""

from __future__ import annotations

import ipaddress
import os
import re
from email.errors import MessageError
from email.policy import default as HEADERS
from typing import Mapping, Optional, Sequence

import attr

from regsys.config.hosts import ascii_host
from regsys.config.values import Reader, is_given, is_url, knows_only
from regsys.model import Secret

# The kinds of mails. The names of templates and options follow from them.
REGISTRATION, ADD_THREEPID, IN_USE = "registration", "add_threepid", "already_in_use"
PASSWORD_RESET = "password_reset"  # noqa: S105 (a kind of mail)
KINDS = (REGISTRATION, ADD_THREEPID, PASSWORD_RESET, IN_USE)
# The option of ``email.subjects`` for each kind.
SUBJECTS = {
    REGISTRATION: "email_validation",
    ADD_THREEPID: "email_validation",
    PASSWORD_RESET: "password_reset",
    IN_USE: "email_already_in_use",
}
# The endings of an option for a template, and of the file that it names by default.
_MAILS = {"html": ".html", "text": ".txt"}
_PAGES = {"failure_html": "_failure.html", "success_html": "_success.html"}

# Stands for %(app)s while notif_from is parsed: a private-use character without a meaning there.
_APP_MARK = "\ue000"
_PLAIN_PORT, _TLS_PORT = 25, 465
_HOST_AND_PORT = re.compile(r"(\[[^]]*\]|[^:]+):([0-9]+)")
_PORT_MEND = "write its name alone, such as mail.example.com, without smtp:// and port"
_TLS_NAME_MEND = "write the one name that the certificate of the mail server is asked for"
# The parser's defect for "Example.com Chat <…>", which lacks quotes only.
_DOT_IN_NAME = "period in 'phrase'"


@attr.frozen(kw_only=True)
class EmailConfig:
    """How mails are sent. If ``user`` is None, there is no login. ``starttls``: STARTTLS is used if
    the server offers it; ``require_tls``: no mail is sent without encryption. ``tls_name``: the
    name that the server's certificate must have.

    ``from_name`` may be empty; ``from_address`` is ASCII. ``subjects`` has the administrator's own,
    by their option (SUBJECTS), with ``%(server_name)s`` and ``%(app)s`` to be filled in.
    ``templates`` maps the name of one of our templates (such as ``mails/registration.html``) to the
    administrator's file that replaces it; those of confirmation pages are
    ``registration_failure.html`` and so on. ``template_dir`` has such files besides
    ``templates.custom_template_directory``. ``notifies_newcomers``: an account that is registered
    with an email address gets an email pusher. ``client_base_url``: where people's web app is;
    None if that is not known.
    """

    host: str
    port: int
    user: Optional[str] = None
    password: Optional[Secret] = attr.field(default=None, repr=False)
    force_tls: bool = False
    starttls: bool = True
    require_tls: bool = False
    tls_name: str
    from_name: str
    from_address: str
    app_name: str
    subjects: Mapping[str, str] = attr.field(factory=dict)
    templates: Mapping[str, str] = attr.field(factory=dict)
    template_dir: Optional[str] = None
    notifies_newcomers: bool = False
    client_base_url: Optional[str] = None

    @property
    def plain_login(self) -> bool:
        """Whether the password may be sent without encryption: only if STARTTLS is switched off, or
        if the server is this machine. Else a man in the middle would only have to hide STARTTLS."""
        return not self.starttls or _is_this_machine(self.host)


def read_email(reader: Reader, template_directory: Optional[str]) -> Optional[EmailConfig]:
    """The section ``email``; None (no mails) if it sets nothing."""
    section = reader.section("email")
    is_set = _sets_something(section.data)
    force_tls, starttls = section.flag("force_tls"), section.flag("enable_tls", True)
    host = _read_host(section, "smtp_host", _PORT_MEND) or "localhost"
    user, password = _read_user(section), section.secret("smtp_pass")
    app_name = _line(section, "app_name") or "Matrix"
    from_name, from_address = _read_sender(section, app_name, is_set)
    template_dir = _read_directory(section)
    directories = [path for path in (template_directory, template_dir) if path]
    notifies, newcomers = section.flag("enable_notifs"), section.flag("notif_for_new_users", True)
    port = section.whole("smtp_port", 1, 65535)
    config = EmailConfig(
        host=host,
        port=port or (_TLS_PORT if force_tls else _PLAIN_PORT),
        user=user,
        password=password,
        force_tls=force_tls,
        starttls=starttls,
        require_tls=section.flag("require_transport_security"),
        tls_name=_read_host(section, "tlsname", _TLS_NAME_MEND) or host,
        from_name=from_name,
        from_address=from_address,
        app_name=app_name,
        subjects=_read_subjects(section.section("subjects")),
        templates=_read_templates(section, directories),
        template_dir=template_dir,
        notifies_newcomers=notifies and newcomers,
        client_base_url=_read_client(section),
    )
    if not is_set:
        return None
    _check_security(section, config)
    return config


def _read_client(section: Reader) -> Optional[str]:
    url = section.text("client_base_url")
    if url is not None and not is_url(url):
        mend = "write the whole address of the web app, such as https://app.example.com/"
        section.problem("client_base_url", "not an http or https URL", mend, url)
        return None
    return url


def _read_host(section: Reader, name: str, mend: str) -> Optional[str]:
    text = section.text(name)
    if text is None:
        return None
    host = ascii_host(text)
    if host is None:
        found = _HOST_AND_PORT.fullmatch(text)
        if found is not None:
            mend = f"the port has an option of its own: write {name}: {found[1]}"
            mend += f" and smtp_port: {found[2]}" if name == "smtp_host" else ""
        section.problem(name, "not the name of a host", mend, text)
    return host


def _read_user(section: Reader) -> Optional[str]:
    user = section.text("smtp_user")
    if section.data.get("smtp_user") == "":
        section.warnings.append(
            "email.smtp_user is empty and counts as not set: the mail server is asked without a"
            " login. Leave it out if that is meant."
        )
    return user


def _sets_something(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_sets_something(item) for item in value.values())
    return is_given(value)


def _check_security(section: Reader, config: EmailConfig) -> None:
    # A wrong password option has been reported already.
    has_password = any(is_given(section.data.get(it)) for it in ("smtp_pass", "smtp_pass_path"))
    if (config.user is None) == has_password:
        name, other = ("smtp_pass", "smtp_user") if config.user else ("smtp_user", "smtp_pass")
        section.problem(name, f"missing, though {other} is set", "set both, or neither")
    if config.require_tls and not (config.starttls or config.force_tls):
        mend = "leave enable_tls out, or set force_tls"
        section.problem("require_transport_security", "enable_tls switches off what it needs", mend)
    elif config.user and not (config.force_tls or config.starttls or _is_this_machine(config.host)):
        section.warnings.append(
            "email.enable_tls is false: the password of email.smtp_user goes to the mail server "
            "unencrypted."
        )


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _line(section: Reader, name: str) -> Optional[str]:
    """Text for a header: without line ends or other control characters."""
    value = section.text(name)
    if value is not None and not value.isprintable():
        section.problem(name, "has a line end or another control character", "take it out")
        return None
    return value


def _read_sender(section: Reader, app_name: str, is_needed: bool) -> tuple[str, str]:
    """The name and the address of ``notif_from``."""
    mend = 'write an address, such as "%(app)s <noreply@example.com>"; a name with a comma in it'
    mend += " stands in quotes of its own"
    written = _line(section, "notif_from")
    if written is None:
        if is_needed and section.data.get("notif_from") in (None, ""):
            section.problem("notif_from", "missing", f"mails need a sender: {mend}")
        return "", ""
    sender = _parse_sender(written) if knows_only(written, "app") else None
    if sender is None:
        section.problem("notif_from", "not one address", mend, written)
        return "", ""
    return sender[0].replace(_APP_MARK, app_name), sender[1]


def _parse_sender(written: str) -> Optional[tuple[str, str]]:
    """The name, with _APP_MARK for the app's name, and the address; None if it is not valid."""
    try:
        header = HEADERS.header_factory("From", written % {"app": _APP_MARK})
        (found,) = header.addresses
        domain = None if found.domain.startswith("[") else ascii_host(found.domain)
        address = f"{found.addr_spec.rpartition('@')[0]}@{domain}"
    except (ValueError, MessageError):
        return None
    is_sound = all(str(defect) == _DOT_IN_NAME for defect in header.defects)
    return (found.display_name, address) if domain and is_sound else None


def _read_subjects(section: Reader) -> Mapping[str, str]:
    subjects = {}
    for name in sorted(set(SUBJECTS.values())):
        subject = _line(section, name)
        if subject is not None and not knows_only(subject, "server_name", "app"):
            mend = "use %(server_name)s and %(app)s alone, and %% for a percent sign"
            section.problem(name, "not a subject", mend, subject)
        elif subject is not None:
            subjects[name] = subject
    return subjects


def _read_directory(section: Reader) -> Optional[str]:
    path = section.text("template_dir")
    if path is not None and not os.path.isdir(path):
        mend = "mend the path; templates.custom_template_directory is the newer name for it"
        section.problem("template_dir", "not a directory", mend, path)
    return path


def _read_templates(section: Reader, directories: Sequence[str]) -> Mapping[str, str]:
    """The administrator's files, by the name of our template that each replaces.

    A file with our template's name, such as ``mails/registration.html``, needs no option and is
    preferred.
    """
    found = {}
    for kind in KINDS:
        mails = {part: (f"mails/{kind}{ending}", kind + ending) for part, ending in _MAILS.items()}
        pages = {part: (kind + ending, kind + ending) for part, ending in _PAGES.items()}
        for part, (ours, usual) in {**mails, **(pages if kind != IN_USE else {})}.items():
            option = f"{kind}_template_{part}"
            name = section.text(option) or usual
            if _is_in(directories, ours) and ours != usual:
                continue
            if _is_in(directories, name):
                found[ours] = name
            elif name != usual:
                mend = "put it into templates.custom_template_directory, or leave the option out"
                section.problem(option, "there is no such file", mend, name)
    return found


def _is_in(directories: Sequence[str], name: str) -> bool:
    return any(os.path.isfile(os.path.join(directory, name)) for directory in directories)
