"""One idea, one file, one decorator: the registries that the contract tests walk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar

from aet.errors import ConfigError, nearest

T = TypeVar("T")


def discover(package: str, folders: Iterable[str]) -> None:
    """Import every module of a package, so that each enters what it registers.

    For a package's `__init__.py`: `discover(__name__, __path__)`. A new file there is found by itself.
    """
    for module in iter_modules(folders):
        import_module(f"{package}.{module.name}")


class Registry(Generic[T]):
    """Named things of one sort.

    >>> animals = Registry("animal")
    >>> @animals.register("cat")
    ... class Cat: pass
    >>> animals["cat"] is Cat, list(animals)
    (True, ['cat'])
    >>> animals["cta"]
    Traceback (most recent call last):
    aet.errors.ConfigError: There is no animal 'cta'. Did you mean 'cat'? Known: 'cat'.
    """

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Class or function decorator that enters the decorated thing under `name`."""

        def enter(thing: T) -> T:
            if name in self._entries:
                raise ConfigError(f"The {self.sort} {name!r} is registered twice. Give one of the two another name.")
            self._entries[name] = thing
            return thing

        return enter

    def __getitem__(self, name: str) -> T:
        if not isinstance(name, str) or name not in self._entries:
            raise ConfigError(f"There is no {self.sort} {name!r}. {nearest(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
