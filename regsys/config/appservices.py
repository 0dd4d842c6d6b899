"""The registration files of application services (contract B3.1), one service each."""

from __future__ import annotations

import re
from typing import Iterable, Optional

from regsys.config.files import load_yaml
from regsys.config.namespace_checks import is_kept, shadowed, why_no_user_matches
from regsys.config.values import ConfigError, Reader, is_given
from regsys.model import Appservice, Secret, UserID, UserNamespace

_OPTION = "app_service_config_files"
# A service with all of these names for itself has every name that a user would choose.
_CHOSEN_NAMES = ("anybody", "somebody", "whoever")
_GENERATED_NAMES = ("1", "23", "456", "1234567")


def read_appservices(
    reader: Reader, server_name: str, oauth_only: bool, own_token: Optional[Secret] = None
) -> tuple[Appservice, ...]:
    """The services, in the order of their files. ``oauth_only``: none of them may log its users in.
    ``own_token``: the as_token by which the homeserver beside us knows us. The service with this
    token is left out: its namespace is ours, and would keep every name from new users.

    A problem in a registration file begins with that file's path.
    """
    found: list[Appservice] = []
    places: dict[tuple[str, str], str] = {}
    paths: dict[str, str] = {}
    for path in reader.texts(_OPTION):
        try:
            loaded = load_yaml(path)
        except ConfigError as error:
            reader.problems += [f"{_OPTION}: {problem}" for problem in error.problems]
            continue
        reader.warnings += loaded.warnings
        file = Reader(loaded.data)
        service = _read_service(file, server_name, oauth_only)
        _check_unique(file, path, service, places)
        if service.as_token != own_token:
            _warn_if_every_name_is_kept(file, service, server_name)
            _warn_if_no_user_matches(file, service, server_name)
            found.append(service)
            paths[service.id] = path
        reader.problems += [f"{path}: {problem}" for problem in file.problems]
        reader.warnings += [f"{path}: {warning}" for warning in file.warnings]
    for service, place, other in shadowed(found, server_name) if not reader.problems else ():
        reader.warnings.append(
            f"{paths[service.id]}: namespaces.users[{place}].regex"
            f" ({service.users[place].regex.pattern}): the service of {paths[other.id]} keeps all"
            " of these names for itself, too, so neither of the two can create such a user."
        )
    return tuple(found)


def _read_service(file: Reader, server_name: str, oauth_only: bool) -> Appservice:
    # Options for sending events have no effect here, but a bad value would fail elsewhere.
    file.text("url")
    file.flag("rate_limited", default=True)
    _required_secret(file, "hs_token")
    msc4190 = file.flag("io.element.msc4190")
    return Appservice(
        id=_required(file, "id", "give the service a name that no other has"),
        as_token=_required_secret(file, "as_token"),
        sender_localpart=_read_sender(file, server_name),
        users=_read_users(file.section("namespaces")),
        may_log_in=not (msc4190 or oauth_only),
    )


def _required(file: Reader, name: str, mend: str) -> str:
    value = file.text(name)
    if file.data.get(name) in (None, ""):
        file.problem(name, "missing", mend)
    return value or ""


def _required_secret(file: Reader, name: str) -> Secret:
    value = file.secret(name)
    if not is_given(file.data.get(name)) and value is None and f"{name}_path" not in file.data:
        file.problem(name, "missing", "give it a long random value, the one that the service has")
    return value or Secret("")


def _read_sender(file: Reader, server_name: str) -> str:
    mend = "write only the part between @ and the colon of the service's own user"
    localpart = _required(file, "sender_localpart", mend)
    if any(sign in localpart for sign in "@:\0"):
        file.problem("sender_localpart", "not the localpart of a user ID", mend, localpart)
    elif UserID(localpart, server_name).is_too_long:
        file.problem("sender_localpart", "too long for a user ID", "take a shorter one", localpart)
    return localpart


def _read_users(section: Reader) -> tuple[UserNamespace, ...]:
    if section.data.get("users") is None:
        return ()
    read = [_read_namespace(item) for item in section.items("users")]
    return tuple(namespace for namespace in read if namespace is not None)


def _read_namespace(item: Reader) -> Optional[UserNamespace]:
    """The namespace; None after a problem."""
    exclusive = item.flag("exclusive")
    if item.data.get("exclusive") is None:
        item.problem("exclusive", "missing", "write true, or false if others may use these names")
    text = _required(item, "regex", "write what whole user IDs look like, such as @_irc_.*")
    try:
        return UserNamespace(re.compile(text), exclusive) if text else None
    except (re.error, OverflowError, RecursionError) as error:
        reason = getattr(error, "msg", None) or "it is too much"
        mend = "mend the regular expression, which is one of Python's"
        item.problem("regex", f"cannot be understood: {reason}", mend, text)
    return None


def _check_unique(
    file: Reader, path: str, service: Appservice, places: dict[tuple[str, str], str]
) -> None:
    """Report an id or as_token that an earlier file has, too. ``places``: which file has which."""
    for name, value in (("id", service.id), ("as_token", service.as_token.reveal())):
        earlier = places.setdefault((name, value), path)
        if value and earlier != path:
            mend = "give each service its own, or name each file once"
            not_secret = (value,) if name == "id" else ()
            file.problem(name, f"the same as in {earlier}", mend, *not_secret)
    sender = service.sender_localpart.lower()
    earlier = places.setdefault(("sender_localpart", sender), path)
    if sender and earlier != path:
        file.warnings.append(
            f"sender_localpart: the same as in {earlier}, whose service alone may register it."
        )


def _warn_if_every_name_is_kept(file: Reader, service: Appservice, server_name: str) -> None:
    def keeps(localparts: Iterable[str]) -> bool:
        return all(is_kept(service, str(UserID(name, server_name))) for name in localparts)

    if keeps(_CHOSEN_NAMES):
        file.warnings.append(
            "namespaces.users: the service keeps every name for itself, so nobody else can"
            " register. If a homeserver knows regsys by this file, write its as_token into"
            " regsys.homeserver."
        )
    elif keeps(_GENERATED_NAMES):
        file.warnings.append(
            "namespaces.users: the service keeps every number for itself, so no name can be"
            " generated: guests, and users who choose no name, are refused."
        )


def _warn_if_no_user_matches(file: Reader, service: Appservice, server_name: str) -> None:
    for place, namespace in enumerate(service.users):
        why = why_no_user_matches(namespace, server_name)
        if why is not None:
            file.warnings.append(
                f"namespaces.users[{place}].regex ({namespace.regex.pattern}) matches no user of"
                f" this server: {why}."
            )
