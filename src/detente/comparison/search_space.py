"""The settings that a search varies, and the range of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from detente.errors import InvalidValue, require

Kind = Literal["log", "linear", "int", "choice"]
ALLOWED = "log:LOW:HIGH, linear:LOW:HIGH (or LOW:HIGH), int:LOW:HIGH or choice:ONE,OTHER,…"
DIGITS = 4  # significant digits of a number that is tried, so that the best one can be typed again


@dataclass(frozen=True)
class Range:
    """The values of one setting.

    Args:
        kind: "log" or "linear" for numbers, drawn evenly on that scale; "int" for integers; "choice" for others.
        low: smallest number; for "log" > 0.
        high: largest number, > low.
        choices: the values of a "choice", at least two.
    """

    kind: Kind
    low: float = 0.0
    high: float = 1.0
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "choice":
            require(len(set(map(repr, self.choices))) >= 2, "over", self.choices, "at least two different choices")
            return
        finite = math.isfinite(self.low) and math.isfinite(self.high)
        require(finite and self.low < self.high, "over", str(self), f"{ALLOWED}, with LOW < HIGH")
        require(self.kind != "log" or self.low > 0, "over", str(self), "log:LOW:HIGH with LOW > 0")
        is_integer = self.low == round(self.low) and self.high == round(self.high)
        require(self.kind != "int" or is_integer, "over", str(self), "int:LOW:HIGH with integers")

    @classmethod
    def parse(cls, name: str, text: str) -> Range:
        """Return the range for a text such as `log:1e-5:1e-2` or `choice:sgd,adam`.

        Args:
            name: the setting, for errors.
            text: the text.

        Raises:
            InvalidValue: the text is not a range.
        """
        kind, colon, numbers = text.partition(":")
        if kind == "choice" and colon:
            return cls("choice", choices=tuple(_value(word.strip()) for word in numbers.split(",") if word.strip()))
        kind, bounds = (kind, numbers) if kind in ("log", "linear", "int") else ("linear", text)
        try:
            low, high = map(float, bounds.split(":"))
        except ValueError as error:
            raise InvalidValue("over", f"{name}={text}", ALLOWED) from error
        return cls(kind, low, high)  # pyright: ignore[reportArgumentType]

    def __str__(self) -> str:
        if self.kind == "choice":
            return f"choice:{','.join(map(word, self.choices))}"
        return f"{self.kind}:{self.low:g}:{self.high:g}"

    def ends(self) -> tuple[Any, Any]:
        """Return the first and the last value."""
        if self.kind == "choice":
            return self.choices[0], self.choices[-1]
        return (int(self.low), int(self.high)) if self.kind == "int" else (self.low, self.high)

    def rounded(self, value: Any) -> Any:
        """Return a value with few digits, and inside the range."""
        if self.kind in ("choice", "int"):
            return value
        return min(self.high, max(self.low, float(f"{value:.{DIGITS}g}")))


def parse_space(over: Mapping[str, str | Range]) -> dict[str, Range]:
    """Return the range of every setting by name.

    Raises:
        InvalidValue: a text is not a range, or there is none.
    """
    require(len(over) > 0, "over", dict(over), f"at least one setting with its range: {ALLOWED}")
    return {name: Range.parse(name, text) if isinstance(text, str) else text for name, text in over.items()}


def word(value: Any) -> str:
    """Return a value as a word of the command line."""
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def _value(text: str) -> Any:
    """Return a choice as a number or a truth value where it is one."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
