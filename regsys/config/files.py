"""Configuration files: reading YAML, with warnings of duplicate keys, and merging files."""

from __future__ import annotations

import os
from typing import Any, Iterator, Mapping, Sequence

import attr
import yaml

from regsys.config.values import ConfigError


@attr.frozen
class File:
    """A parsed file. ``warnings``: a sentence for each duplicate key."""

    data: Mapping[Any, Any]
    warnings: Sequence[str]


def load_yaml(path: str) -> File:
    """The file's mapping; an empty one for an empty file. Raises ConfigError."""
    try:
        with open(path, encoding="utf-8") as file:
            data, duplicates = _read(yaml.SafeLoader(file))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read — {error.strerror}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Without the parser's message: it quotes the file, secrets included.
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
    return File(data or {}, [f"{path}: {duplicate}" for duplicate in duplicates])


def _read(loader: yaml.SafeLoader) -> tuple[Any, Sequence[str]]:
    try:
        node = loader.get_single_node()
        if node is None:
            return None, ()
        # Before construct_document, which moves merged keys into the mappings.
        duplicates = list(_duplicates(node, "", set()))
        return loader.construct_document(node), duplicates
    finally:
        loader.dispose()


def _duplicates(node: yaml.Node, path: str, seen: set[int]) -> Iterator[str]:
    """A sentence for each duplicate key of a mapping: YAML lets the last one win."""
    if id(node) in seen:
        return  # an alias
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _duplicates(item, f"{path}[{index}]", seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = f"{path}.{key.value}" if path else str(key.value)
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in lines:
                    yield (
                        f"{name} is set twice, at lines {lines[key.value]} and {line}: the last"
                        " one counts, and nothing of the first."
                    )
                lines[key.value] = line
            yield from _duplicates(value, name, seen)


@attr.define
class Merged:
    """Several files as one mapping: the last file that has a top-level option wins."""

    data: dict[Any, Any] = attr.field(factory=dict)
    warnings: list[str] = attr.field(factory=list)
    _origins: dict[Any, str] = attr.field(factory=dict)

    def add(self, path: str, file: File) -> None:
        self.warnings += file.warnings
        for name, value in file.data.items():
            lost = _lost(self.data.get(name), value)
            if lost and not (name == "listeners" and _is_beside(file.data)):
                self.warnings.append(
                    f"{name}: {path} replaces the whole value of {self._origins[name]}: {lost}."
                )
            self.data[name], self._origins[name] = value, path


def _is_beside(data: Mapping[Any, Any]) -> bool:
    """Whether a file says where the homeserver is: then ``listeners`` in it are ours in place of
    the homeserver's, as no two processes can have the same."""
    ours = data.get("regsys")
    return isinstance(ours, Mapping) and "homeserver" in ours


def _lost(earlier: object, later: object) -> str:
    """What a later file's section or list drops of an earlier one's; "" if nothing."""
    if isinstance(earlier, Mapping):
        names = earlier.keys() - (later.keys() if isinstance(later, Mapping) else ())
        listed = ", ".join(sorted(map(str, names)))
        return f"{listed} {'is' if len(names) == 1 else 'are'} not set any more" if names else ""
    if isinstance(earlier, list):
        kept = later if isinstance(later, list) else []
        gone = sum(item not in kept for item in earlier)
        return f"{gone} of its {len(earlier)} entries do not count any more" if gone else ""
    return ""


def expanded(paths: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The files of these paths, with a directory's ``*.yaml`` in order of name; and warnings."""
    found: list[str] = []
    warnings = []
    for path in paths:
        if not os.path.isdir(path):
            found.append(path)
            continue
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise ConfigError([f"{path}: cannot be read — {error.strerror}"]) from None
        found += [os.path.join(path, name) for name in names if name.endswith(".yaml")]
        warnings += [
            f"{os.path.join(path, name)} is not read: its name must end in .yaml."
            for name in names
            if name.endswith(".yml")
        ]
    return found, warnings
