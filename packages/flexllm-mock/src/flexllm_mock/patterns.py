"""Text that matches a regular expression, for string schemas with a `pattern`."""

from __future__ import annotations

from dataclasses import dataclass

from flexllm_mock.faults.dice import Dice

_PRINTABLE = "".join(map(chr, range(32, 127)))
_DIGITS = "0123456789"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CLASSES = {"d": _DIGITS, "w": _LETTERS + _DIGITS + "_", "s": " "}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_HEX_LENGTHS = {"x": 2, "u": 4}
_ANCHORS = "bBAZz"
_MAX_REPEAT = 10_000
_MAX_REPEATS = 100_000


class PatternError(ValueError):
    """A regular expression that is not valid, or uses what is not supported: look-around, back references."""


@dataclass(slots=True)
class _Pen:
    dice: Dice
    growth: int
    left: int = _MAX_REPEATS

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise PatternError("the text for the pattern would be too long")


@dataclass(frozen=True, slots=True)
class _Characters:
    """One character out of a set; the empty set stands for an anchor and writes nothing."""

    options: str

    def write(self, pen: _Pen) -> str:
        return pen.dice.pick(self.options) if self.options else ""


@dataclass(frozen=True, slots=True)
class _Repeat:
    node: _Node
    least: int
    most: int | None

    def write(self, pen: _Pen) -> str:
        most = self.least + 3 + pen.growth
        count = pen.dice.between(self.least, most if self.most is None else min(self.most, most))
        pen.spend(count)
        return "".join([self.node.write(pen) for _ in range(count)])


@dataclass(frozen=True, slots=True)
class _Choice:
    """Alternatives, each a sequence of nodes."""

    branches: tuple[tuple[_Node, ...], ...]

    def write(self, pen: _Pen) -> str:
        return "".join([node.write(pen) for node in pen.dice.pick(self.branches)])


_Node = _Characters | _Repeat | _Choice


class Pattern:
    """A parsed regular expression. Raises PatternError."""

    def __init__(self, source: str) -> None:
        self._tree = _Parser(source).parse()

    def sample(self, dice: Dice, growth: int = 0) -> str:
        """Write a text that matches; `growth` allows that many more repetitions of what may repeat.

        Raises PatternError when the text would become too long.
        """
        return self._tree.write(_Pen(dice, growth))


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0

    def parse(self) -> _Choice:
        tree = self.choice()
        if self.at < len(self.source):
            raise PatternError(f"unbalanced `)` in the pattern {self.source!r}")
        return tree

    def choice(self) -> _Choice:
        branches: list[tuple[_Node, ...]] = []
        nodes: list[_Node] = []
        while self.peek() not in ("", ")"):
            if self.peek() == "|":
                self.at += 1
                branches.append(tuple(nodes))
                nodes = []
            else:
                nodes.append(self.repeated(self.atom()))
        return _Choice((*branches, tuple(nodes)))

    def peek(self) -> str:
        return self.source[self.at : self.at + 1]

    def take(self) -> str:
        char = self.peek()
        if not char:
            raise PatternError(f"the pattern {self.source!r} ends too early")
        self.at += 1
        return char

    def repeated(self, node: _Node) -> _Node:
        least, most = 1, 1
        bounds: tuple[int, int | None] = (least, most)
        match self.peek():
            case "*":
                bounds = (0, None)
            case "+":
                bounds = (1, None)
            case "?":
                bounds = (0, 1)
            case "{":
                counted = self.counted()
                if counted is None:
                    return node
                bounds = counted
            case _:
                return node
        self.at += 1
        if self.peek() in ("?", "+"):  # lazy and possessive forms match the same texts
            self.at += 1
        return _Repeat(node, *bounds)

    def counted(self) -> tuple[int, int | None] | None:
        """Read `{m}`, `{m,}` or `{m,n}` up to its closing brace; None when the brace is an ordinary character."""
        end = self.source.find("}", self.at)
        low, comma, high = self.source[self.at + 1 : max(end, self.at)].partition(",")
        if not all(part.isascii() and part.isdigit() for part in (low, high) if part) or not (low or high):
            return None
        least = int(low or 0)
        most = int(high) if high else None if comma else least
        if least > _MAX_REPEAT or (most is not None and most < least):
            raise PatternError(f"cannot repeat {{{low}{comma}{high}}} in the pattern {self.source!r}")
        self.at = end
        return least, most

    def atom(self) -> _Node:
        char = self.take()
        match char:
            case "(":
                return self.group()
            case "[":
                return _Characters(self.characters())
            case ".":
                return _Characters(_LETTERS + _DIGITS)
            case "^" | "$":
                return _Characters("")
            case "\\":
                return _Characters(self.escape())
            case "*" | "+" | "?":
                raise PatternError(f"nothing to repeat before `{char}` in the pattern {self.source!r}")
        return _Characters(char)

    def group(self) -> _Node:
        if self.peek() == "?":
            self.at += 1
            kind = self.take()
            if kind == "P":
                kind = self.take()
            if kind == "<" and self.peek() not in ("=", "!"):
                self.at = self.source.find(">", self.at) + 1 or len(self.source)
            elif kind != ":":
                raise PatternError(f"the mock cannot write text for `(?{kind}` in the pattern {self.source!r}")
        tree = self.choice()
        if self.take() != ")":
            raise PatternError(f"unbalanced `(` in the pattern {self.source!r}")
        return tree

    def escape(self) -> str:
        """Read what follows a backslash and return the characters it stands for; empty for an anchor."""
        char = self.take()
        if char in _HEX_LENGTHS:
            digits = self.source[self.at : self.at + _HEX_LENGTHS[char]]
            self.at += len(digits)
            try:
                return chr(int(digits, 16))
            except ValueError:
                raise PatternError(f"`\\{char}{digits}` is not a character, in the pattern {self.source!r}") from None
        if char in _CLASSES:
            return _CLASSES[char]
        if char.lower() in _CLASSES:
            return "".join(c for c in _PRINTABLE if c not in _CLASSES[char.lower()])
        if char in _ANCHORS:
            return ""
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char.isalnum():
            raise PatternError(f"the mock cannot write text for `\\{char}` in the pattern {self.source!r}")
        return char

    def characters(self) -> str:
        """Read a bracketed set after its `[`."""
        negated = self.peek() == "^"
        self.at += negated
        members: list[str] = []
        while (char := self.take()) != "]" or not members:
            members.append(self.member(char))
        options = "".join(members)
        if negated:
            options = "".join(c for c in _PRINTABLE if c not in options)
        if not options:
            raise PatternError(f"an empty set of characters in the pattern {self.source!r}")
        return options

    def member(self, char: str) -> str:
        """Read one member of a set: a character, a class, or a range."""
        first = ("\b" if self.peek() == "b" and self.take() else self.escape()) if char == "\\" else char
        if len(first) != 1 or self.peek() != "-" or self.source[self.at + 1 : self.at + 2] in ("]", ""):
            return first
        self.at += 1
        char = self.take()
        last = self.escape() if char == "\\" else char
        if len(last) != 1 or last < first:
            raise PatternError(f"a bad range in the pattern {self.source!r}")
        return "".join(map(chr, range(ord(first), min(ord(last), ord(first) + 255) + 1)))
