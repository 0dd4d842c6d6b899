"""The databases that our statements are written for."""

from __future__ import annotations

from typing import Union

from regsys.storage.postgresql import PostgreSQL
from regsys.storage.sqlite import SQLite

Dialect = Union[SQLite, PostgreSQL]
