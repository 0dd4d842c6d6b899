"""matrix-js-sdk with its encryption, led step by step: tests/npm/encrypted.mjs."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import unittest
from typing import Any, Optional

from tests import npm
from tests.support.missing import not_tried
from tests.support.patience import PATIENCE_S

SCRIPT = npm.HERE / "encrypted.mjs"


class Failed(Exception):
    """The step's error in the SDK; ``status`` and ``errcode``: those of the server, or None."""

    def __init__(self, step: Any, failed: Any) -> None:
        super().__init__(f"{step}: {failed}")
        self.status: Optional[int] = failed.get("status")
        self.errcode: Optional[str] = failed.get("errcode")


class SDK:
    """One Node.js with any number of clients; it ends with ``case``. Skips the test without it."""

    def __init__(self, case: unittest.TestCase) -> None:
        try:
            command = [str(npm.node()), str(SCRIPT)]
            npm.packages()
        except npm.Missing as missing:
            reason = f"matrix-js-sdk was not tried: {missing}"
            not_tried(case, reason)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        case.addCleanup(self.end)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def do(self, *step: Any) -> Any:
        """The client's name, a step of the script, and its arguments; what it returns. Failed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(step) + "\n")
        self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise AssertionError(f"no end of {step}") from None
        assert line, f"Node.js has ended at {step}"
        result = json.loads(line)
        if isinstance(result, dict) and "failed" in result:
            raise Failed(step[:2], result["failed"])
        return result
