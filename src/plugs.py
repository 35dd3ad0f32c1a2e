"""`Registry`: the plugs of one kind, by name.

A plug is a feed, a broker, an alert sink, an estimator, a model check or a section of a report. A new one is
one file and one line in the registry of its kind; joining puts it under the conformance suite of that kind in
`tests/conformance`. See `docs/extending.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BeforeValidator, SecretStr, ValidationError

from lockstep.errors import ConfigError
from lockstep.settings import Settings, first_problem, shown, suggestion

Plug = TypeVar("Plug")


class Registry(Generic[Plug]):
    """Plugs of one kind in the order in which they joined; iterating gives their names.

    kind   what messages call one of them; name   returns the name of a plug

    >>> sizes = Registry("size", ("small", "large"), name=str)
    >>> list(sizes), sizes["large"]
    (['small', 'large'], 'large')
    >>> sizes["lagre"]
    Traceback (most recent call last):
    lockstep.errors.ConfigError: size 'lagre': there is none of this name; did you mean 'large'?
    """

    def __init__(self, kind: str, plugs: Iterable[Plug] = (), *, name: Callable[[Plug], str]) -> None:
        self.kind = kind
        self._name = name
        self._plugs: dict[str, Plug] = {}
        for plug in plugs:
            self.register(plug)

    def register(self, plug: Plug) -> Plug:
        """Add a plug and return it; ConfigError where its name is taken."""
        name = self._name(plug)
        if name in self._plugs:
            raise ConfigError(f"{self.kind} {name!r}: there is one of this name already; choose another")
        self._plugs[name] = plug
        return plug

    @contextmanager
    def joined(self, plug: Plug) -> Iterator[Plug]:
        """Add a plug for the length of a `with` block: for trials and tests."""
        self.register(plug)
        try:
            yield plug
        finally:
            del self._plugs[self._name(plug)]

    def __getitem__(self, name: str) -> Plug:
        """Return the plug of a name; ConfigError, with the nearest name, where there is none."""
        try:
            return self._plugs[name]
        except KeyError:
            raise ConfigError(self.absent(name)) from None

    def absent(self, name: object) -> str:
        """Return the sentence that refuses a name."""
        near = suggestion(str(name), self._plugs)
        return f"{self.kind} {shown(name)}: there is none of this name{near}"

    def values(self) -> tuple[Plug, ...]:
        """Return the plugs themselves."""
        return tuple(self._plugs.values())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._plugs

    def __iter__(self) -> Iterator[str]:
        return iter(self._plugs)

    def __len__(self) -> int:
        return len(self._plugs)


class ReadSecret(Protocol):
    """How a plug gets at a secret: what it reads is kept out of everything that is written from then on."""

    def __call__(self, purpose: str, *, variable: str | None, file: Path | None) -> SecretStr:
        """Return the secret in `file`, or else in the environment variable; LiveError where there is none."""


class PlugSettings(Settings):
    """What a configuration says of one plug: its `kind`, which a subclass fixes, and its own keys.

    Frozen; unknown keys are refused with the nearest name.
    """

    kind: str


def kind_of(settings: type[PlugSettings]) -> str:
    """Return the `kind` that a class of settings answers to: the default of its field."""
    return str(settings.model_fields["kind"].default)


def chosen_by_kind(registry: Registry[Any]) -> BeforeValidator:
    """Return the validator of a field that holds settings of any kind in `registry`.

    A mapping is read by the settings class that its key `kind` names, as the registry stands at that moment.
    """

    def read(value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        if "kind" not in value:
            raise ValueError(f"needs a key 'kind'; known are {', '.join(registry)}")
        kind = value["kind"]
        if kind not in registry:
            raise ValueError(registry.absent(kind))
        settings: type[PlugSettings] = registry[kind]
        try:
            return settings.model_validate(dict(value))
        except ValidationError as error:
            raise ValueError(f"{registry.kind} {kind}: {first_problem(settings, error)}") from error

    return BeforeValidator(read)
