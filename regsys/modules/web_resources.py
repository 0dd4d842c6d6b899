"""The resources that modules add to the server's paths."""

from __future__ import annotations

from typing import Any, Optional
from urllib.parse import unquote_to_bytes

import attr
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource

log = Logger()


@attr.frozen(eq=False)
class WebResources:
    """By path; of two for one path, the first one stays. A resource has all paths below its own,
    but for those of another, and for those of ours."""

    _by_path: dict[tuple[bytes, ...], tuple[str, IResource]] = attr.field(init=False, factory=dict)

    def add(self, module: str, path: str, resource: Any) -> None:
        """TypeError or ValueError for what cannot be added."""
        if not isinstance(path, str) or not path.startswith("/") or not path.strip("/"):
            raise ValueError(f"the path {path!r} must begin with / and name something")
        if not IResource.providedBy(resource):
            raise TypeError(
                f"a {type(resource).__name__} is no resource of twisted.web: pass an object such as"
                " a twisted.web.resource.Resource"
            )
        segments = _segments(path.strip("/").encode())
        earlier = self._by_path.setdefault(segments, (module, resource))
        if earlier[1] is not resource:
            log.warn(
                "{path} is served by module {earlier}, and not by module {module}: the first one"
                " that registers a path has it",
                path=path,
                earlier=earlier[0],
                module=module,
            )

    def find(self, request: IRequest) -> Optional[IResource]:
        """The resource for this request, which goes on below it; None if there is none."""
        if not self._by_path:
            return None
        asked: Any = request
        segments = _segments(asked.path.partition(b"?")[0].lstrip(b"/"))
        for length in range(len(segments), 0, -1):
            found = self._by_path.get(segments[:length])
            if found is not None:
                # A resource expects these as of a tree in which it is a child.
                asked.prepath[:] = segments[:length]
                asked.postpath[:] = segments[length:]
                return found[1]
        return None


def _segments(path: bytes) -> tuple[bytes, ...]:
    return tuple(unquote_to_bytes(segment) for segment in path.split(b"/"))
