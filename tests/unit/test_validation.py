from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from lockstep.errors import ConfigError
from lockstep.settings import read_yaml, suggestion, validated


class Wall(BaseModel):
    model_config = ConfigDict(extra="forbid")

    height: float
    colour: str = "white"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"height": 2, "color": "red"}, r"walls: unknown key 'color'; did you mean 'colour'\?"),
        ({"height": 2, "xyz": 1}, "unknown key 'xyz'; known are colour, height"),
        ({}, "key 'height' is missing"),
        ({"height": "tall"}, "height 'tall': .*valid number"),
        ([1, 2], r"walls: \[1, 2\]: expected a mapping with height, colour"),
        (None, "expected a mapping"),
    ],
)
def test_the_first_problem_is_one_line(values: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        validated(Wall, values, where="walls")
    assert "\n" not in str(caught.value)


def test_a_misspelled_key_of_an_inner_model_is_named_before_what_it_leaves_missing() -> None:
    class House(BaseModel):
        front: Wall
        walls: tuple[Wall, ...] = ()

    with pytest.raises(ConfigError, match=r"unknown key 'front.heigth'; did you mean 'height'\?"):
        validated(House, {"front": {"heigth": 2}}, where="house")


def test_good_values_become_the_model() -> None:
    assert validated(Wall, {"height": 2}, where="walls") == Wall(height=2.0)


def test_names_are_suggested_without_regard_to_case() -> None:
    assert suggestion("es", ["ES", "NQ"]) == "; did you mean 'ES'?"
    assert suggestion("what", []) == "; known are none"


@pytest.mark.parametrize("content", [b"a: [1", b"\xff", None])
def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.yml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.yml: cannot be read as YAML"):
        read_yaml(path)
