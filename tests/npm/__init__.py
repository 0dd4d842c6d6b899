"""What the tests take from npm. The first that asks has it installed beside this file."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


class Missing(Exception):
    """This machine lacks npm, or npm its packages; the text says what."""


@functools.cache
def packages() -> Path:
    """The directory of packages, as package-lock.json has them. Raises Missing."""
    found = HERE / "node_modules"
    # npm writes this file when it is done.
    if not (found / ".package-lock.json").exists():
        npm = shutil.which("npm")
        if npm is None:
            raise Missing("npm was not found (Debian: npm).")
        command = [npm, "ci", "--ignore-scripts"]
        done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise Missing(f"npm ci failed in {HERE}: {done.stdout.decode(errors='replace')}")
    return found
