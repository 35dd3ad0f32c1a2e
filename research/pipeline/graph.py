"""Steps and their order. What a step left is named by all that went into it, so that it is made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Generic, TypeVar

from lockstep.errors import PipelineError
from lockstep.identity import json_digest, plug_hash

C = TypeVar("C")

Inputs = Mapping[str, Path]
"""The folders that earlier steps left, by the name of the step."""


@dataclass(frozen=True, kw_only=True)
class PipelineStep(Generic[C]):
    """One step of a night.

    needs        steps whose folders it reads: where one of them failed, it is not done
    after        steps whose folders it reads if they are there
    module       dotted name of the module whose import closure is its code
    ingredients  returns all else that decides what it leaves, as plain JSON: configuration, hashes of data
    work         does it: leaves files in the folder that it is given, and says in a sentence what happened;
                 it may be done again from the beginning at any time, and then leaves the same
    foretell     says what it would do, for a rehearsal, by the folders that are there, and changes nothing
    """

    name: str
    module: str
    work: Callable[[C, Inputs, Path], str]
    ingredients: Callable[[C, Inputs], Any]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    foretell: Callable[[C, Inputs], str] = lambda context, inputs: ""

    def key(self, context: C, inputs: Inputs, outputs: Mapping[str, str]) -> str:
        """Return the SHA-256 (hex) of all that goes into it.

        outputs   digests of the folders in `inputs`
        """
        read = {name: outputs[name] for name in (*self.needs, *self.after) if name in outputs}
        return json_digest([self.name, plug_hash(self.module), self.ingredients(context, inputs), read])


@dataclass(frozen=True)
class Pipeline(Generic[C]):
    """Steps, each of which comes after those that it reads.

    Raises: PipelineError for two steps of one name, a step that reads one that is not there, a circle.
    """

    steps: Sequence[PipelineStep[C]]

    def __post_init__(self) -> None:
        list(self.ordered)

    @property
    def ordered(self) -> Iterator[PipelineStep[C]]:
        """The steps in the order in which they are done: that in which they are given, as far as it goes."""
        by_name = {each.name: each for each in self.steps}
        if len(by_name) < len(self.steps):
            names = [each.name for each in self.steps]
            twice = next(name for name in names if names.count(name) > 1)
            raise PipelineError(f"pipeline: two steps are called {twice}; give one of them another name")
        read = {each.name: (*each.needs, *each.after) for each in self.steps}
        for name, others in read.items():
            for other in others:
                if other not in by_name:
                    raise PipelineError(f"pipeline: step {name} reads {other}, which is no step of it")
        try:
            order = list(TopologicalSorter(read).static_order())
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            raise PipelineError(f"pipeline: steps wait for one another: {circle}") from error
        place = {name: number for number, name in enumerate(by_name)}
        done: set[str] = set()
        left = sorted(order, key=place.__getitem__)
        while left:
            name = next(each for each in left if done.issuperset(read[each]))
            left.remove(name)
            done.add(name)
            yield by_name[name]
