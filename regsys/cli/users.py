"""``regsys users list | show | deactivate | set-password | set-admin | log-out``."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any, Awaitable, Callable, Mapping, Optional, Sequence

import attr

from regsys.accounts.administration import Administration
from regsys.cli.confirming import is_confirmed
from regsys.cli.names import names_in, user_id_of
from regsys.cli.results import Done
from regsys.cli.tables import json_text, printable, table
from regsys.cli.times import utc
from regsys.cli.user_report import report
from regsys.errors import (
    DeviceNotFound,
    InvalidParam,
    RegistrationError,
    Unavailable,
    UserNotFound,
)
from regsys.model import Secret, UserID
from regsys.model.administration import CLI, UserEntry, UserFilter
from regsys.model.canonical_threepids import EMAIL, MSISDN, canonical_threepid
from regsys.wiring.subsystem import Subsystem


@attr.frozen(kw_only=True)
class Command:
    """What an action has. ``password``: that of set-password, which was asked for before."""

    subsystem: Subsystem
    administration: Administration
    server_name: str
    arguments: Namespace
    password: Optional[Secret] = None

    async def user(self) -> UserID:
        """The one user that is named. RegistrationError."""
        user_id = user_id_of(self.arguments.name, self.server_name)
        if await self.administration.users.find(user_id) is None:
            raise UserNotFound(f"there is no user {printable(str(user_id))}")
        return user_id

    def done(self, sentence: str, **facts: Any) -> Done:
        """One change that was made."""
        return Done(json_text(facts) if self.arguments.json else sentence)


async def _list(command: Command) -> Done:
    given = command.arguments
    found = await command.administration.users.page(
        UserFilter(
            name=given.name,
            address=None if given.address is None else _address(given.address),
            is_guest=True if given.guests else None,
            admin=True if given.admins else None,
            approved=False if given.waiting else None,
            deactivated=given.deactivated or (False if given.waiting else None),
        ),
        backwards=True,
        skip=given.skip,
        most=given.limit,
    )
    if given.json:
        return Done(json_text([_entry_json(item) for item in found]))
    if not found:
        return Done("There are no such users.")
    lines = [table([_row(item) for item in found])]
    if len(found) == given.limit:
        lines.append(f"--from {given.skip + given.limit} shows older ones.")
    return Done("\n".join(lines))


async def _show(command: Command) -> Done:
    user_id = await command.user()
    return Done(await report(command.subsystem, user_id, as_json=command.arguments.json))


async def _deactivate(command: Command) -> Done:
    given = command.arguments
    names = list(dict.fromkeys([*given.names, *names_in(given.from_file)]))
    if not names:
        raise RegistrationError("no user is named")
    results = [await _planned(command, name) for name in names]
    due = [item for item in results if item.is_due]
    if given.dry_run:
        return _told(results, given.json)
    if due and not given.yes:
        for item in results:
            print(item.line, file=sys.stderr)
        if not is_confirmed(f"Deactivate {len(due)} of these for good?"):
            return Done("", 2, problem="nothing was done: --yes does it without asking")
    return _told(await _end_all(command, results), given.json)


@attr.frozen(kw_only=True)
class _Result:
    """Of one name. ``user_id`` is None for a name that can be none of ours; ``is_due``: there is
    something to do."""

    name: str
    state: str
    user_id: Optional[UserID] = None
    is_due: bool = False
    is_refused: bool = False

    @property
    def line(self) -> str:
        return f"{printable(str(self.user_id or self.name))}  {printable(self.state)}"

    @property
    def facts(self) -> Mapping[str, Any]:
        user_id = None if self.user_id is None else str(self.user_id)
        return {"name": self.name, "user_id": user_id, "state": self.state}


async def _planned(command: Command, name: str) -> _Result:
    """What a dry run says of a name."""
    try:
        user_id = user_id_of(name, command.server_name)
    except RegistrationError as error:
        return _Result(name=name, state=error.text, is_refused=True)
    found = await command.administration.users.find(user_id)
    planned = _Result(name=name, user_id=user_id, state="to be deactivated", is_due=True)
    if found is None:
        return attr.evolve(planned, state="not found", is_due=False, is_refused=True)
    if found.deactivated and found.erased >= command.arguments.erase:
        return attr.evolve(planned, state="deactivated already", is_due=False)
    return planned


async def _end_all(command: Command, planned: Sequence[_Result]) -> Sequence[_Result]:
    erase, done = command.arguments.erase, list(planned)
    for place, item in enumerate(planned):
        if item.user_id is None or not item.is_due:
            continue
        try:
            await command.administration.deactivate(item.user_id, erase, CLI)
        except Unavailable as error:
            # The next ones would fail as well, each after a while.
            return [*done[:place], *(_not_done(rest, error) for rest in planned[place:])]
        except RegistrationError as error:
            done[place] = _not_done(item, error)
        else:
            done[place] = attr.evolve(item, state="erased" if erase else "deactivated")
    return done


def _not_done(item: _Result, error: RegistrationError) -> _Result:
    if not item.is_due:
        return item
    return attr.evolve(item, state=f"not done: {error.reason or error.text}", is_refused=True)


def _told(results: Sequence[_Result], as_json: bool) -> Done:
    status = 1 if any(item.is_refused for item in results) else 0
    if as_json:
        return Done(json_text([item.facts for item in results]), status)
    return Done("\n".join(item.line for item in results), status)


async def _set_password(command: Command) -> Done:
    user_id, given = await command.user(), command.arguments
    password = command.password
    assert password is not None  # it was asked for
    if command.subsystem.passwords is not None and not given.force:
        command.subsystem.passwords.check_policy(password)
    ends_logins = not given.keep_logins
    await command.administration.set_password(user_id, password, CLI, ends_logins=ends_logins)
    ended = "all devices are logged out" if ends_logins else "devices stay logged in"
    return command.done(
        f"{user_id} has a new password; {ended}.", user_id=str(user_id), logged_out=ends_logins
    )


async def _set_admin(command: Command) -> Done:
    user_id, admin = await command.user(), not command.arguments.no
    changed = await command.administration.set_admin(user_id, admin, CLI)
    state = "is a server administrator" if admin else "is no server administrator"
    sentence = f"{user_id} {state}{'' if changed else ' already'}."
    return command.done(sentence, user_id=str(user_id), admin=admin, changed=changed)


async def _log_out(command: Command) -> Done:
    user_id, device = await command.user(), command.arguments.device
    asked = None if device is None else [device]
    ended = await command.administration.log_out(user_id, asked, CLI)
    if device is not None and not ended:
        raise DeviceNotFound(f"{user_id} has no device {printable(device)}")
    count = "1 device is" if len(ended) == 1 else f"{len(ended)} devices are"
    return command.done(f"{count} logged out.", user_id=str(user_id), devices=list(ended))


ACTIONS: Mapping[str, Callable[[Command], Awaitable[Done]]] = {
    "list": _list,
    "show": _show,
    "deactivate": _deactivate,
    "set-password": _set_password,
    "set-admin": _set_admin,
    "log-out": _log_out,
}


async def run(
    subsystem: Subsystem, server_name: str, arguments: Namespace, password: Optional[Secret]
) -> Done:
    assert subsystem.administration is not None  # commands run over our own tables
    command = Command(
        subsystem=subsystem,
        administration=subsystem.administration,
        server_name=server_name,
        arguments=arguments,
        password=password,
    )
    return await ACTIONS[arguments.action](command)


def _address(text: str) -> tuple[str, str]:
    """Medium and canonical address; of ``@domain`` that of all its addresses."""
    if text.startswith("@"):
        return EMAIL, text.lower()
    if "@" in text:
        return EMAIL, canonical_threepid(EMAIL, text)
    try:
        return MSISDN, canonical_threepid(MSISDN, text)
    except InvalidParam:
        raise RegistrationError(
            f"{printable(text)} is neither a mail address, nor @domain, nor a phone number with"
            " its country code"
        ) from None


def _row(item: UserEntry) -> list[str]:
    name = item.display_name
    shown = "" if name in (None, item.user_id.localpart) else str(name)
    return [str(item.user_id), utc(item.created_ms), _states(item) or "-", shown]


def _states(item: UserEntry) -> str:
    """In words, what is not as of any user."""
    words = (
        ("deactivated", item.deactivated and not item.erased),
        ("erased", item.erased),
        ("waiting", not (item.approved or item.deactivated)),
        ("admin", item.admin),
        ("guest", item.is_guest),
        ("shadow-banned", item.shadow_banned),
        (str(item.user_type), item.user_type is not None),
        (f"of {item.appservice_id}", item.appservice_id is not None),
    )
    return ", ".join(word for word, holds in words if holds)


def _entry_json(item: UserEntry) -> Mapping[str, Any]:
    return {**attr.asdict(item, recurse=False), "user_id": str(item.user_id)}
