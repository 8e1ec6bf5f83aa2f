"""Strings and numbers that satisfy the limits of a JSON schema."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import Any

from flexllm_mock.faults.dice import Dice
from flexllm_mock.patterns import Pattern, PatternError
from flexllm_mock.words import phrase

_MAX_LENGTH = 100_000
_SPAN = 100
_GROWTHS = (0, 0, 0, 2, 4, 8, 16, 32, 64, 128)


class SchemaError(ValueError):
    """A JSON schema that the mock cannot satisfy; the message says why."""


def string_value(schema: dict[str, Any], dice: Dice) -> str:
    """Return a string for `format`, `pattern`, `minLength` and `maxLength`. Raises SchemaError."""
    least, most = schema.get("minLength", 0), schema.get("maxLength", _MAX_LENGTH)
    if least > min(most, _MAX_LENGTH):
        raise SchemaError(f"no string has {least} or more and {most} or fewer characters here")
    if "pattern" in schema:
        return _patterned(schema["pattern"], int(least), int(most), dice)
    text = _formatted(schema.get("format"), dice)
    if text is not None and least <= len(text) <= most:
        return text
    text = phrase(dice.bits().to_bytes(8, "big"), dice.between(2, 4))
    while len(text) < least:
        text += " " + phrase(dice.bits().to_bytes(8, "big"), 8)
    return text[: int(most)]


def _patterned(source: object, least: int, most: int, dice: Dice) -> str:
    if not isinstance(source, str):
        raise SchemaError("`pattern` must be a string")
    try:
        pattern = Pattern(source)
        for growth in _GROWTHS:
            text = pattern.sample(dice, growth)
            if least <= len(text) <= most:
                return text
    except PatternError as error:
        raise SchemaError(str(error)) from error
    raise SchemaError(f"the mock found no text of {least} to {most} characters for the pattern {source!r}")


def _formatted(name: object, dice: Dice) -> str | None:
    """Return a text in one of the formats that JSON schema names, or None for another format."""
    word = phrase(dice.bits().to_bytes(8, "big"), 1)
    day = f"{dice.between(2020, 2029)}-{dice.between(1, 12):02}-{dice.between(1, 28):02}"
    time = f"{dice.below(24):02}:{dice.below(60):02}:{dice.below(60):02}Z"
    digits = f"{dice.bits():016x}{dice.bits():016x}"
    match name:
        case "date":
            return day
        case "time":
            return time
        case "date-time":
            return f"{day}T{time}"
        case "duration":
            return f"PT{dice.between(1, 59)}M"
        case "email" | "idn-email":
            return f"{word}@example.com"
        case "hostname" | "idn-hostname":
            return f"{word}.example.com"
        case "ipv4":
            return f"192.0.2.{dice.between(1, 254)}"
        case "ipv6":
            return f"2001:db8::{dice.between(1, 65535):x}"
        case "uri" | "url" | "iri":
            return f"https://example.com/{word}"
        case "uri-reference" | "iri-reference" | "json-pointer":
            return f"/{word}"
        case "uuid":
            return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
    return None


def number_value(schema: dict[str, Any], dice: Dice, *, whole: bool) -> int | float:
    """Return a number for `minimum`, `maximum`, the exclusive limits and `multipleOf`. Raises SchemaError."""
    low, low_open = _limit(schema, "minimum", "exclusiveMinimum", largest=True)
    high, high_open = _limit(schema, "maximum", "exclusiveMaximum", largest=False)
    step = _number(schema["multipleOf"], "multipleOf") if "multipleOf" in schema else None
    if step is not None and step <= 0:
        raise SchemaError("`multipleOf` must be more than 0")
    if whole:
        # A fraction p/q in lowest terms divides exactly those whole numbers that p divides.
        step = Fraction(step.numerator) if step is not None else Fraction(1)
    if step is None:
        return _between(low, high, low_open or high_open, dice)
    first = None if low is None else floor(low / step) + 1 if low_open else ceil(low / step)
    last = None if high is None else ceil(high / step) - 1 if high_open else floor(high / step)
    if first is None:
        first = 0 if last is None or last >= 0 else last - _SPAN
    if last is None:
        last = first + _SPAN
    if first > last:
        raise SchemaError("no number lies between the limits")
    found = step * dice.between(first, last)
    return int(found) if whole else float(found)


def _between(low: Fraction | None, high: Fraction | None, inside: bool, dice: Dice) -> float:
    if low is None:
        low = Fraction(0) if high is None or high > 0 else high - _SPAN
    if high is None:
        high = low + _SPAN
    if low > high or (low == high and inside):
        raise SchemaError("no number lies between the limits")
    # Hundredths of the way, without the ends: they may be excluded.
    return float(low + (high - low) * dice.between(1, _SPAN - 1) / _SPAN)


def _limit(schema: dict[str, Any], name: str, exclusive: str, *, largest: bool) -> tuple[Fraction | None, bool]:
    """Return the tighter of two limits, and whether it is excluded; drafts before 6 write the exclusive one as true."""
    limits: list[tuple[Fraction, bool]] = []
    if name in schema:
        limits.append((_number(schema[name], name), schema.get(exclusive) is True))
    if exclusive in schema and not isinstance(schema[exclusive], bool):
        limits.append((_number(schema[exclusive], exclusive), True))
    if not limits:
        return None, False
    tightest = (max if largest else min)(value for value, _ in limits)
    return tightest, any(excluded for value, excluded in limits if value == tightest)


def _number(value: object, name: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float) or value in (float("inf"), float("-inf")):
        raise SchemaError(f"`{name}` must be a number")
    return Fraction(str(value))
