"""The static files of pages: where they are, and as what they are served."""

from __future__ import annotations

import functools
import hashlib
import posixpath
import re
from pathlib import Path
from typing import Mapping

STATIC = Path(__file__).parent.parent / "static"
# The path of the pages' static files, below the service's public address.
STATIC_PATH = "_matrix/static/regsys/"
# What one script of ours imports from another one, by its relative address.
_IMPORT = re.compile(r'(?<= from ")\.[^"?]*(?=";$)', re.MULTILINE)


def static_files() -> Mapping[str, Path]:
    """The files that pages need, by their path below ``STATIC_PATH``."""
    files = (path for path in sorted(STATIC.rglob("*")) if path.is_file())
    return {path.relative_to(STATIC).as_posix(): path for path in files}


@functools.cache
def served_files() -> Mapping[str, bytes]:
    """What is served under each path below ``STATIC_PATH``.

    Browsers keep these files for long, so each address has the version of its file. A script
    imports others by such addresses, too, or it could meet one from before an upgrade; so its own
    version changes with theirs.
    """
    files, served = static_files(), dict[str, bytes]()

    def serve(name: str) -> bytes:
        if name not in served:
            content = files[name].read_bytes()
            if name.endswith(".js"):
                folder = posixpath.dirname(name)
                content = _IMPORT.sub(
                    lambda found: address(folder, found[0]), content.decode()
                ).encode()
            served[name] = content
        return served[name]

    def address(folder: str, imported: str) -> str:
        content = serve(posixpath.normpath(posixpath.join(folder, imported)))
        return f"{imported}?v={version(content)}"

    for name in files:
        serve(name)
    return served


def version(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]
