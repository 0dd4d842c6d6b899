"""A folder for Unix sockets, whose paths must be shorter than about 100 bytes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any


def short_folder(case: Any) -> Path:
    """Under /tmp, since trial's own folders may be anywhere; removed when the test ends."""
    folder = tempfile.mkdtemp(prefix="regsys-", dir="/tmp")
    case.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
