"""File name patterns such as `source_1/{n}.jpg`, matched against the files of a folder.

A pattern is a path inside the data set's folder, with forward slashes. It may contain

- `{n}`: the number of the pair; `{2*n-1}` and `{n+1}` if the files are numbered differently;
- `{id}`: the pair's name, any text without a slash, the same in every picture of the pair;
- `{shot}`: a number or one letter, in sets of more than two shots;
- `*` and `?`: any characters, and any one character, of a file or folder name.

Each may appear more than once. Upper and lower case are not distinguished.
"""

import re
from typing import NamedTuple

from tfds_edmf.sources import SourceError

_PIECE = re.compile(r"\{(?:(?P<factor>\d+)\*)?(?P<field>n|id|shot)(?P<shift>[+-]\d+)?\}|(?P<any>[*?])")
_FIELDS = {"n": r"\d+", "id": r"[^/]+", "shot": r"\d+|[A-Za-z]"}

Key = int | str


class Match(NamedTuple):
    """What a pattern found in a file's path.

    Attributes:
      prefix: the part of the path before the pattern: "" or "some/folder/".
      key: the pair: the number of `{n}` or the text of `{id}`.
      name: the key as the file spells it, "01"; the plain number if the pattern calculates.
      shot: the shot: a number or a capital letter; None in a pattern without `{shot}`.
    """

    prefix: str
    key: Key
    name: str
    shot: Key | None


class _Place(NamedTuple):
    """One placeholder of a pattern; the number in the file name is factor · n + shift."""

    group: str
    field: str
    factor: int
    shift: int


class Pattern:
    """A compiled pattern.

    Attributes:
      text: the pattern, with forward slashes.
      fixed_characters: the number of characters outside placeholders; the more, the more specific it is.
    """

    def __init__(self, text: str, role: str):
        """Compiles a pattern.

        Args:
          text: the pattern as the user wrote it.
          role: which picture it describes ("a", "truth", …), for error messages.

        Raises:
          SourceError: the pattern has a mistake.
        """
        self.text = text.replace("\\", "/").removeprefix("./")
        self._places: list[_Place] = []
        body, end = "", 0
        for piece in _PIECE.finditer(self.text):
            body += re.escape(self.text[end : piece.start()]) + self._expression(piece)
            end = piece.end()
        body += re.escape(self.text[end:])
        self.fixed_characters = len(_PIECE.sub("", self.text))
        self._check(text, role)
        self._name = re.compile(f"(?P<prefix>(?:.+/)?){body}", re.IGNORECASE)

    def _expression(self, piece: re.Match) -> str:
        """The regular expression of one placeholder or wildcard; records the placeholder in `_places`."""
        if piece["any"]:
            return "[^/]*" if piece["any"] == "*" else "[^/]"
        place = _Place(f"p{len(self._places)}", piece["field"], int(piece["factor"] or 1), int(piece["shift"] or 0))
        self._places.append(place)
        return f"(?P<{place.group}>{_FIELDS[place.field]})"

    def _check(self, given: str, role: str) -> None:
        """Raises SourceError if the pattern has a mistake; `given` is its text as the user wrote it."""
        def refuse(reason: str) -> None:
            raise SourceError(f"pattern {role}={given!r} {reason}")

        if left := re.search(r"[{}]", _PIECE.sub("", self.text)):
            refuse(f"has a {left[0]!r} that belongs to none of {{n}}, {{2*n-1}}, {{id}}, {{shot}}")
        if self.text.startswith("/") or re.match(r"[A-Za-z]:", self.text) or ".." in self.text.split("/"):
            refuse("must be a path inside the source folder, like 'A/{id}.jpg'")
        fields = {place.field for place in self._places}
        if len(fields & {"n", "id"}) != 1:
            refuse("must name the pair by {n} (a number) or by {id} (any text), like 'A/{id}.jpg'")
        if any(p.factor == 0 or (p.field != "n" and (p.factor, p.shift) != (1, 0)) for p in self._places):
            refuse("calculates with something that is no number: only forms like {2*n-1} and {n+1} are allowed")

    def match(self, path: str) -> Match | None:
        """What the pattern finds in a file's path; None if it does not match."""
        found = self._name.fullmatch(path)
        if found is None:
            return None
        values: dict[str, set[Key]] = {}
        for place in self._places:
            value = _value(found[place.group], place)
            if value is None:
                return None
            values.setdefault(place.field, set()).add(value)
        if any(len(different) > 1 for different in values.values()):  # {n}/{n}.jpg against 1/2.jpg
            return None
        (key,) = values.get("n") or values["id"]
        (shot,) = values.get("shot") or (None,)
        name = next((found[p.group] for p in self._places if p.field != "shot" and p[2:] == (1, 0)), str(key))
        return Match(found["prefix"], key, name, shot)

    def fill(self, key: Key, shot: Key | None, example: str | None = None) -> str:
        """The file name for a pair, with prefix and zero padding as in `example`, a name that this pattern matches."""
        found = self._name.fullmatch(example) if example else None
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
    """The number or text of a placeholder; None if its calculation has no whole, non-negative solution."""
    if place.field == "id":
        return text
    if not text.isdecimal():
        return text.upper()
    value, rest = divmod(int(text) - place.shift, place.factor)
    return value if rest == 0 and value >= 0 else None
