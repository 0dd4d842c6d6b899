"""Each module that is offered, with its names. What is not here is not there."""

from __future__ import annotations

from typing import Any, Callable, Mapping, NoReturn

from twisted.web.server import Request

from regsys.callbacks.logins import NOT_SPAM
from regsys.interfaces import Verdict
from regsys.modules import shapes
from regsys.modules.api import ModuleApi, NotOffered
from regsys.modules.names import caching, configs, contexts, errors, resources, values

# Modules ask for it, to decide what a homeserver can do.
VERSION = "1.163.0"


def _named(*things: Any) -> dict[str, Any]:
    return {thing.__name__: thing for thing in things}


def _about_events(name: str) -> Callable[..., NoReturn]:
    """A function of homeservers that is about events, which no registration or login has."""
    if name.startswith("__"):
        raise AttributeError(name)

    def not_offered(*args: object, **kwargs: object) -> NoReturn:
        raise NotOffered(f"{name}: regsys has no events of rooms, see docs/modules.md")

    return not_offered


_SERVER = _named(
    resources.DirectServeHtmlResource,
    resources.DirectServeJsonResource,
    resources.respond_with_html,
)
_SERVLET = _named(
    resources.assert_params_in_dict,
    resources.parse_boolean,
    resources.parse_integer,
    resources.parse_json_object_from_request,
    resources.parse_json_value_from_request,
    resources.parse_string,
)
_CONTEXT = _named(
    contexts.LoggingContext,
    contexts.current_context,
    contexts.make_deferred_yieldable,
    contexts.nested_logging_context,
    contexts.run_in_background,
)
_IDS = {
    "Requester": shapes.ModuleRequester,
    "UserID": shapes.ModuleUserID,
    **_named(shapes.UserInfo),
    "JsonDict": values.JsonDict,
    "StateMap": values.StateMap,
}
_EVENTS = _named(values.EventBase)
_CACHED = _named(caching.cached)
_STORAGE = _named(values.DatabasePool, values.LoggingTransaction)
_ERRORS = {
    "SynapseError": errors.SynapseError,
    **_named(
        errors.Codes,
        shapes.HttpResponseException,
        errors.InvalidClientCredentialsError,
        errors.RedirectException,
    ),
}

OFFERED: Mapping[str, Mapping[str, Any]] = {
    "synapse": {"__version__": VERSION},
    "synapse.api": {},
    "synapse.api.errors": {
        **_ERRORS,
        **_named(
            errors.AuthError,
            errors.CodeMessageException,
            errors.InvalidClientTokenError,
            errors.LoginError,
            errors.MissingClientTokenError,
            errors.NotFoundError,
            errors.StoreError,
        ),
    },
    "synapse.config": _named(errors.ConfigError),
    "synapse.config._base": _named(configs.Config, errors.ConfigError),
    "synapse.events": _EVENTS,
    "synapse.events.utils": {"__getattr__": _about_events},
    "synapse.http": {},
    "synapse.http.server": {
        **_SERVER,
        **_named(resources.respond_with_html_bytes, resources.respond_with_json),
    },
    "synapse.http.servlet": _SERVLET,
    "synapse.http.site": {"SynapseRequest": Request},
    "synapse.logging": {},
    "synapse.logging.context": {**_CONTEXT, "PreserveLoggingContext": contexts.LoggingContext},
    "synapse.module_api": {
        **_SERVER,
        **_IDS,
        **_EVENTS,
        **_CACHED,
        **_STORAGE,
        **_named(
            ModuleApi,
            contexts.make_deferred_yieldable,
            contexts.run_as_background_process,
            contexts.run_in_background,
            resources.parse_json_object_from_request,
            shapes.ProfileInfo,
        ),
        "NOT_SPAM": NOT_SPAM,
        "SynapseRequest": Request,
        "UserProfile": values.UserProfile,
    },
    "synapse.module_api.errors": {**_ERRORS, **_named(errors.ConfigError)},
    "synapse.spam_checker_api": {"RegistrationBehaviour": Verdict},
    "synapse.storage": {},
    "synapse.storage.database": _STORAGE,
    "synapse.types": {
        **_IDS,
        **_named(values.create_requester, values.get_domain_from_id, values.get_localpart_from_id),
        "JsonMapping": values.JsonMapping,
    },
    "synapse.util": {},
    "synapse.util.caches": {},
    "synapse.util.caches.descriptors": _CACHED,
}
