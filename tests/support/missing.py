"""What a test does on a machine that lacks a program or a package it needs."""

from __future__ import annotations

import os
import unittest
from typing import NoReturn

from twisted.trial.unittest import SkipTest


def not_tried(case: unittest.TestCase, reason: str) -> NoReturn:
    """Skip the test with this reason, or fail it under CI=true, where nothing may be missing."""
    if os.environ.get("CI") == "true":
        case.fail(reason)
    raise SkipTest(reason)
