"""File name patterns: `source_1/{n}.jpg` against the names of a folder.

A pattern is a path inside the data set's folder, with forward slashes. It holds

- `{n}`, a number; `{2*n-1}` and `{n+1}` stand for files numbered otherwise than the pairs;
- `{id}`, any text without a slash, the same in every picture of a pair;
- `{shot}`, a number or one letter, where a set has more than two shots;
- `*` and `?`, any characters and one character of a name.

Each may stand more than once. Upper and lower case are the same.
"""

import re
from typing import NamedTuple

_PIECE = re.compile(r"\{(?:(?P<factor>\d+)\*)?(?P<field>n|id|shot)(?P<shift>[+-]\d+)?\}|(?P<any>[*?])")
_FIELDS = {"n": r"\d+", "id": r"[^/]+", "shot": r"\d+|[A-Za-z]"}

Key = int | str


class Match(NamedTuple):
    """What a pattern found in a file's name."""

    prefix: str
    """What stands before the pattern's part: "" or "some/folder/"."""
    key: Key
    """Which pair: the number of `{n}` or the text of `{id}`."""
    name: str
    """The key as the file says it, "01"; the bare number where the pattern calculates."""
    shot: Key | None
    """Which shot: a number or a capital letter; None in a pattern without `{shot}`."""


class _Place(NamedTuple):
    """One placeholder of a pattern. The file says factor·n + shift."""

    group: str
    field: str
    factor: int
    shift: int


class Pattern:
    """A compiled pattern. `role` is what it stands for, for error messages."""

    def __init__(self, text: str, role: str):
        self.text = text.replace("\\", "/").removeprefix("./")
        self._places: list[_Place] = []
        body, at = "", 0
        for piece in _PIECE.finditer(self.text):
            body += re.escape(self.text[at : piece.start()]) + self._expression(piece)
            at = piece.end()
        body += re.escape(self.text[at:])
        self.fixed_characters = len(_PIECE.sub("", self.text))
        self._refuse_mistakes(text, role)
        self._name = re.compile(f"(?P<prefix>(?:.+/)?){body}", re.IGNORECASE)

    def _expression(self, piece: re.Match) -> str:
        if piece["any"]:
            return "[^/]*" if piece["any"] == "*" else "[^/]"
        place = _Place(f"p{len(self._places)}", piece["field"], int(piece["factor"] or 1), int(piece["shift"] or 0))
        self._places.append(place)
        return f"(?P<{place.group}>{_FIELDS[place.field]})"

    def _refuse_mistakes(self, given: str, role: str) -> None:
        def refuse(why: str) -> None:
            raise ValueError(f"pattern {role}={given!r} {why}")

        if left := re.search(r"[{}]", _PIECE.sub("", self.text)):
            refuse(f"has a {left[0]!r} that belongs to none of {{n}}, {{2*n-1}}, {{id}}, {{shot}}")
        if self.text.startswith("/") or re.match(r"[A-Za-z]:", self.text) or ".." in self.text.split("/"):
            refuse("must be a path inside the source folder, like 'A/{id}.jpg'")
        fields = {place.field for place in self._places}
        if len(fields & {"n", "id"}) != 1:
            refuse("must name the pair by {n} (a number) or by {id} (any text), like 'A/{id}.jpg'")
        if any(p.factor == 0 or (p.field != "n" and (p.factor, p.shift) != (1, 0)) for p in self._places):
            refuse("calculates with something that is no number: only {2*n-1}, {n+1} and the like are read")

    def match(self, name: str) -> Match | None:
        """What the pattern finds in a file's name; None where it doesn't fit."""
        found = self._name.fullmatch(name)
        if found is None:
            return None
        values: dict[str, set[Key]] = {}
        for place in self._places:
            value = _value(found[place.group], place)
            if value is None:
                return None
            values.setdefault(place.field, set()).add(value)
        if any(len(said) > 1 for said in values.values()):  # {n}/{n}.jpg against 1/2.jpg
            return None
        (key,) = values.get("n") or values["id"]
        (shot,) = values.get("shot") or (None,)
        said = next((found[p.group] for p in self._places if p.field != "shot" and p[2:] == (1, 0)), str(key))
        return Match(found["prefix"], key, said, shot)

    def fill(self, key: Key, shot: Key | None, like: str | None = None) -> str:
        """The file name for a pair; digits are padded as in `like`, a name this pattern fits."""
        found = self._name.fullmatch(like) if like else None
        places = iter(self._places)

        def text(piece: re.Match) -> str:
            if piece["any"]:
                return piece["any"]
            place = next(places)
            value = shot if place.field == "shot" else key
            if not isinstance(value, int):
                return str(value)
            width = len(found[place.group]) if found and found[place.group].startswith("0") else 0
            return f"{place.factor * value + place.shift:0{width}}"

        return (found["prefix"] if found else "") + _PIECE.sub(text, self.text)


def _value(text: str, place: _Place) -> Key | None:
    """Number or text that a placeholder stands for; None where a calculation has no whole answer."""
    if place.field == "id":
        return text
    if not text.isdecimal():
        return text.upper()
    value, rest = divmod(int(text) - place.shift, place.factor)
    return value if rest == 0 and value >= 0 else None
