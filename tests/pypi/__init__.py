"""What the tests take from PyPI beside our own dependencies. The first test that needs it has it
installed beside this file."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = HERE / "packages"


class Missing(Exception):
    """The packages cannot be installed here; the text says why."""


@functools.cache
def packages() -> Path:
    """The directory of the packages that requirements.txt names. Raises Missing."""
    if not PACKAGES.exists():
        # Installed under another name, so that an interrupted installation is not taken for
        # complete.
        partial = Path(tempfile.mkdtemp(prefix="packages-", dir=HERE))
        try:
            _install(partial)
            # Another process may have been faster: then its directory stays.
            with contextlib.suppress(OSError):
                partial.rename(PACKAGES)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return PACKAGES


def _install(target: Path) -> None:
    """Wheels alone, without their dependencies: a homeserver has many."""
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target)]
    done = subprocess.run(
        [*command, "-r", str(HERE / "requirements.txt")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise Missing(f"pip install failed for {HERE}: {done.stdout.decode(errors='replace')}")
