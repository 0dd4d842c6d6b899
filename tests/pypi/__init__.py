"""What the tests take from PyPI beside our own dependencies. The first test that needs it has it
installed beside this file."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Iterator, Sequence

from tests.support.missing import not_tried

HERE = Path(__file__).parent


class Missing(Exception):
    """The packages cannot be installed here; the text says why."""


def packages() -> Path:
    """The directory of the packages that requirements.txt names. Raises Missing."""
    return _installed("requirements.txt", "packages")


def modules(case: unittest.TestCase) -> Path:
    """The directory of the modules that modules.txt names. Skips the test where they cannot be
    installed, but under CI=true it fails."""
    with _needed_by(case, "modules of others"):
        return _installed("modules.txt", "packages-modules")


def synadm(case: unittest.TestCase) -> Sequence[Path]:
    """The directories of synadm and of what it imports, as ``modules``."""
    with _needed_by(case, "synadm"):
        return (_installed("synadm.txt", "packages-synadm"), packages())


@contextlib.contextmanager
def _needed_by(case: unittest.TestCase, what: str) -> Iterator[None]:
    try:
        yield
    except Missing as missing:
        not_tried(case, f"{what} was not tried: {missing}")


@functools.cache
def _installed(requirements: str, name: str) -> Path:
    target = HERE / name
    if not target.exists():
        # Installed under another name, so that an interrupted installation is not taken for
        # complete.
        partial = Path(tempfile.mkdtemp(prefix="packages-", dir=HERE))
        try:
            _install(partial, requirements)
            # Another process may have been faster: then its directory stays.
            with contextlib.suppress(OSError):
                partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _install(target: Path, requirements: str) -> None:
    """Wheels alone, without their dependencies: a homeserver has many."""
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target)]
    done = subprocess.run(
        [*command, "-r", str(HERE / requirements)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise Missing(f"pip install failed for {HERE}: {done.stdout.decode(errors='replace')}")
