"""YAML files, and what is said of one that cannot be read."""

from __future__ import annotations

from typing import Any, Mapping

import yaml

from regsys.config.values import ConfigError


def load_yaml(path: str) -> Mapping[Any, Any]:
    """The mapping in this file; an empty one for an empty file. Raises ConfigError."""
    try:
        with open(path, encoding="utf-8") as file:
            data = yaml.safe_load(file)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read — {error.strerror}"]) from None
    except (yaml.YAMLError, ValueError) as error:
        # Without the parser's own words: they quote the file, secrets included.
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            [
                f"{path}: not valid YAML{place} — look for a tab, a missing space after a "
                "colon, or a value that begins with a special sign and needs quotes"
            ]
        ) from None
    if data is not None and not isinstance(data, Mapping):
        raise ConfigError([f"{path}: not a mapping — write options as name: value"])
    return data or {}
