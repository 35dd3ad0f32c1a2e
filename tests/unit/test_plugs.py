"""Registries of plugs: names, order, refusals, and settings chosen by their kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, SerializeAsAny

from lockstep.errors import ConfigError
from lockstep.plugs import PlugSettings, Registry, chosen_by_kind, kind_of
from lockstep.settings import validated


class Round(PlugSettings):
    kind: Literal["round"] = "round"
    radius: Annotated[float, Field(gt=0)]


class Square(PlugSettings):
    kind: Literal["square"] = "square"
    side: float = 1.0


SHAPES: Registry[type[PlugSettings]] = Registry("shape", (Round, Square), name=kind_of)
Shape = Annotated[SerializeAsAny[PlugSettings], chosen_by_kind(SHAPES)]


class Drawing(BaseModel):
    shapes: tuple[Shape, ...] = ()
    frame: Shape | None = None


def drawing(**content: Any) -> Drawing:
    return validated(Drawing, content, where="drawing.yml")


def test_plugs_are_found_by_name_in_the_order_of_joining() -> None:
    assert list(SHAPES) == ["round", "square"]
    assert SHAPES["square"] is Square
    assert SHAPES.values() == (Round, Square)
    assert ("round" in SHAPES, "oval" in SHAPES, len(SHAPES)) == (True, False, 2)


def test_a_taken_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="shape 'round': there is one of this name already"):
        SHAPES.register(Round)


def test_a_plug_joins_for_a_while() -> None:
    class Oval(PlugSettings):
        kind: Literal["oval"] = "oval"

    with SHAPES.joined(Oval):
        assert isinstance(drawing(frame={"kind": "oval"}).frame, Oval)
    with pytest.raises(ConfigError, match="shape 'oval'"):
        drawing(frame={"kind": "oval"})


def test_settings_are_read_by_their_kind_and_written_whole() -> None:
    found = drawing(shapes=[{"kind": "round", "radius": 2}, {"kind": "square"}], frame=Square(side=3))
    assert found.shapes == (Round(radius=2.0), Square())
    assert found.model_dump()["shapes"][0] == {"kind": "round", "radius": 2.0}
    assert drawing(**found.model_dump()) == found


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"kind": "squre"}, "shape 'squre': there is none of this name; did you mean 'square'?"),
        ({"radius": 2}, "needs a key 'kind'; known are round, square"),
        ({"kind": ["round"]}, "shape ['round']: there is none of this name"),
        ({"kind": "round", "radius": -1}, "shape round: radius -1: Input should be greater than 0"),
        ({"kind": "round"}, "shape round: key 'radius' is missing"),
        ({"kind": "square", "sied": 1}, "shape square: unknown key 'sied'; did you mean 'side'?"),
        ("round", "expected a mapping"),
    ],
)
def test_wrong_settings_are_one_line_with_the_nearest_name(shape: object, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        drawing(shapes=[shape])
    assert str(refused.value).startswith("drawing.yml: shapes.0")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
