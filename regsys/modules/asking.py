"""How modules of ours ask the servers that their configuration names."""

from __future__ import annotations

from typing import Any, Awaitable, Mapping, Protocol, Sequence

from regsys.config.values import is_url
from regsys.errors import NoAnswer
from regsys.modules.names.errors import ConfigError


class ServersAnswer(Protocol):
    @property
    def status(self) -> int: ...

    def json(self) -> Any:
        """The body as JSON; NoAnswer if it is none."""


class AsksServers(Protocol):
    """Follows no redirect; raises NoAnswer for what does not come soon, and in full."""

    def get(self, url: str, query: Mapping[str, str]) -> Awaitable[ServersAnswer]: ...

    def post_json(self, url: str, value: Mapping[str, Any]) -> Awaitable[ServersAnswer]: ...


def object_of(answer: ServersAnswer) -> Mapping[str, Any]:
    """The JSON object of a 200. Raises NoAnswer."""
    if answer.status != 200:
        raise NoAnswer(f"the status is {answer.status}")
    content = answer.json()
    if not isinstance(content, dict):
        raise NoAnswer("the answer is no JSON object")
    return content


def checked_options(config: Mapping[str, Any], known: Sequence[str]) -> Mapping[str, Any]:
    """The options of a module of ours, which has ``url`` and those in ``known``. Raises
    ConfigError."""
    for name in config:
        if name not in {"url", *known}:
            raise ConfigError(f"not an option: there are url, {', '.join(known)}", [str(name)])
    url = config.get("url")
    if not isinstance(url, str) or not is_url(url) or "#" in url:
        raise ConfigError("write the http or https address of the server that is asked", ["url"])
    return config
