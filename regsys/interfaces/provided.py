"""Whether an object provides an interface: what zope's verifyObject checks, and more."""

from __future__ import annotations

import inspect
from typing import Any, Mapping, Optional, Sequence

from zope.interface import Interface
from zope.interface.interface import Method

from regsys.interfaces.homeserver import (
    IAccountStore,
    IAppservices,
    IAuth,
    IDevices,
    IMonthlyActiveUsers,
    IRequestSigner,
    IRooms,
    IThreepidStore,
    IUserLookup,
)
from regsys.interfaces.hooks import IStage, IValidationMails
from regsys.model import FoundRoom, Login, Requester, User, UserID

# The methods of an embedder's parts that are not awaited. Interfaces keep no annotations.
RETURN_AT_ONCE = frozenset(
    {
        IAppservices["by_token"],
        IAppservices["may_use"],
        IAppservices["reserved_for"],
        IStage["params"],
    }
)

# What the others return when they are awaited. Those that are missing here return nothing, or
# anything.
RESULTS: Mapping[Method, tuple[type, ...]] = {
    IAccountStore["is_taken"]: (bool,),
    IAccountStore["next_number"]: (int,),
    IAccountStore["create_account"]: (UserID,),
    IAccountStore["made_by"]: (UserID, type(None)),
    IDevices["register"]: (Login,),
    IAuth["whose"]: (Requester, type(None)),
    IUserLookup["find"]: (User, type(None)),
    IThreepidStore["owner_of"]: (UserID, type(None)),
    IThreepidStore["of_user"]: (Sequence,),
    IThreepidStore["add"]: (bool,),
    IThreepidStore["remove"]: (bool,),
    IRooms["find"]: (FoundRoom, type(None)),
    IRooms["create"]: (FoundRoom,),
    IRooms["is_public"]: (bool,),
    IMonthlyActiveUsers["count"]: (int,),
    IMonthlyActiveUsers["is_active"]: (bool,),
    IRequestSigner["authorization"]: (str,),
    IValidationMails["send"]: (str, type(None)),
}


def wrong_result(method: Method, result: object) -> Optional[str]:
    """What is wrong with this result of an awaited method, as in ``None, not a Login``; None if
    nothing is."""
    wanted = RESULTS.get(method)
    # True is no number.
    if wanted is None or (
        isinstance(result, wanted) and (bool in wanted or not isinstance(result, bool))
    ):
        return None
    return f"{_described(type(result))}, not {' or '.join(map(_described, wanted))}"


def _described(kind: type) -> str:
    if kind is type(None):
        return "None"
    return f"{'an' if kind.__name__[0] in 'aeiouAEIO' else 'a'} {kind.__name__}"


def difference(interface: type[Interface], candidate: Any) -> Optional[str]:
    """The first difference between ``candidate`` and what ``interface`` wants, as a sentence
    without a full stop; None if it provides the interface.

    Unlike for zope, parameters must have the names and the order that the interface gives them, so
    that calls by keyword work. Further parameters need defaults. A method that takes ``*args`` and
    ``**kwargs`` takes everything.
    """
    if not interface.providedBy(candidate):
        return _undeclared(interface, candidate)
    for name, wanted in interface.namesAndDescriptions(all=True):
        own = f"{type(candidate).__name__}.{name}"
        if not hasattr(candidate, name):
            what = f"method {name}" if isinstance(wanted, Method) else f"attribute {name}"
            return f"{type(candidate).__name__} lacks the {what} of {interface.__name__}"
        if isinstance(wanted, Method):
            different = _different_method(own, f"{interface.__name__}.{name}", wanted, candidate)
            if different is not None:
                return different
    return None


def _undeclared(interface: type[Interface], candidate: Any) -> str:
    name = interface.__name__
    if isinstance(candidate, type):
        return f"{candidate.__name__} is a class: pass an object of a class that implements {name}"
    own = type(candidate).__name__
    return f"{own} does not declare {name}: put @implementer({name}) above its class"


def _different_method(own: str, theirs: str, wanted: Method, candidate: Any) -> Optional[str]:
    method = getattr(candidate, wanted.getName())
    if not callable(method):
        return f"{own} is a {type(method).__name__}, but {theirs} is a method"
    if wanted in RETURN_AT_ONCE and inspect.iscoroutinefunction(method):
        return f"{own} is async, but {theirs} returns at once: make it a plain method"
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # some functions that are written in C have none
        return None
    if _takes_the_same(wanted.getSignatureInfo(), signature):
        return None
    plain = [item.replace(annotation=item.empty) for item in signature.parameters.values()]
    return f"{own} takes {inspect.Signature(plain)}, {theirs} takes {wanted.getSignatureString()}"


def _takes_the_same(wanted: Mapping[str, Any], signature: inspect.Signature) -> bool:
    parameters = signature.parameters.values()
    kinds = {item.kind for item in parameters}
    variable = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    positional = list(wanted["positional"])
    names = [item.name for item in parameters if item.kind is item.POSITIONAL_OR_KEYWORD]
    expected = positional[: len(names)] if kinds >= variable else positional
    required = {
        item.name for item in parameters if item.default is item.empty and item.kind not in variable
    }
    return names[: len(positional)] == expected and required <= set(wanted["required"])
