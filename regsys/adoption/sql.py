"""SQL as text, for a person to read and to run: literals, statements, and what they are about."""

from __future__ import annotations

from typing import IO, Optional, Union

import attr

Value = Union[str, int, None]


@attr.define
class Script:
    """Writes statements for the database of a Synapse."""

    out: IO[str]
    is_sqlite: bool
    _heading: Optional[str] = attr.field(init=False, default=None)

    def about(self, heading: str) -> None:
        """Put this as a comment above the statements that follow, if any do."""
        self._heading = heading

    def literal(self, value: Value) -> str:
        """The value as an SQL literal. What a terminal or the database's shell could take for
        something else is written as the bytes of its UTF-8."""
        if value is None:
            return "NULL"
        if isinstance(value, int):
            return str(value)
        if value.isprintable():
            return "'" + value.replace("'", "''") + "'"
        code = value.encode("utf-8").hex()
        if self.is_sqlite:
            return f"CAST(x'{code}' AS TEXT)"
        return f"convert_from(decode('{code}', 'hex'), 'UTF8')"

    def equals(self, column: str, value: Value) -> str:
        """A condition that is also true if both are null."""
        return f"{column} IS NULL" if value is None else f"{column} = {self.literal(value)}"

    def comment(self, text: str) -> None:
        for line in text.splitlines() or [""]:
            clean = "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
            self.out.write(f"-- {clean}".rstrip() + "\n")

    def statement(self, template: str, **values: Value) -> None:
        """A statement: ``{name}`` in the template is the literal of the value of that name."""
        if self._heading is not None:
            self.out.write("\n")
            self.comment(self._heading)
            self._heading = None
        literals = {name: self.literal(value) for name, value in values.items()}
        self.out.write(template.format(**literals) + ";\n")
