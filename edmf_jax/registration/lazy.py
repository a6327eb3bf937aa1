"""Values of an object that are computed when they are first used."""

from collections.abc import Callable
from typing import Any


class Lazy:
    """A property that is computed once and then kept in the object; for threads that prepare one object each.

    Up to Python 3.11 `functools.cached_property` has one lock for all objects of a class, so only one shot at a time
    would be prepared.  This has none: threads that ask the same object at the same moment all compute the value.
    """

    def __init__(self, compute: Callable[[Any], Any]):
        self._compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """The value; Python finds the kept one before it gets here."""
        if instance is None:
            return self
        value = self._compute(instance)
        return instance.__dict__.setdefault(self._name, value)
