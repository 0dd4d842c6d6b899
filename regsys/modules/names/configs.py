"""What modules use to read their own options."""

from __future__ import annotations

import os
import re
from typing import Any

from regsys.config.values import duration_ms
from regsys.modules.names.errors import ConfigError

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SIZE = re.compile(r"([0-9]{1,15})([KMGT]?)")


class Config:
    """Values as a homeserver's own file has them."""

    @staticmethod
    def parse_size(value: Any) -> int:
        """The bytes of ``10M``, or of a number."""
        match = _SIZE.fullmatch(str(value))
        if match is None:
            raise ConfigError(f"{value!r} is no size: write a number, such as 512K or 10M")
        return int(match[1]) * _UNITS[match[2]]

    @staticmethod
    def parse_duration(value: Any) -> int:
        """The milliseconds of ``5m``, or of a number."""
        found = duration_ms(value)
        if found is None:
            raise ConfigError(f"{value!r} is no duration: write a number, such as 30s or 5m")
        return found

    @staticmethod
    def abspath(file_path: str) -> str:
        return os.path.abspath(file_path)

    @staticmethod
    def path_exists(file_path: str) -> bool:
        return os.path.exists(file_path)

    @classmethod
    def check_file(cls, file_path: Any, config_name: str) -> str:
        """The absolute path of this file, which the option names."""
        if not isinstance(file_path, str) or not os.path.isfile(file_path):
            raise ConfigError(f"{config_name}: there is no file {file_path!r}")
        return cls.abspath(file_path)

    @classmethod
    def read_file(cls, file_path: Any, config_name: str) -> str:
        """The text of this file, which the option names."""
        path = cls.check_file(file_path, config_name)
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{config_name}: {path} cannot be read: {error}") from None
