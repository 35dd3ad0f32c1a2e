"""Hostile names in pages: every text that a page shows may be somebody's file name, symbol or feature id."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from support.reports import Page

HOSTILE = "'\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;"


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a deep copy in which every text, key, label and cell that is in `names` has its new name.

    What was measured before is kept, so that nothing is looked up under the new name.
    """
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, type):
        return value
    if isinstance(value, Mapping):
        return {renamed(key, names): renamed(each, names) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(renamed(each, names) for each in value))
    if isinstance(value, list | tuple):
        return type(value)(renamed(each, names) for each in value)
    if isinstance(value, pd.DataFrame):
        texts = [column for column in value if pd.api.types.is_string_dtype(value[column].dtype)]
        cells = {column: [renamed(each, names) for each in value[column]] for column in texts}
        return value.assign(**cells).rename(columns=names, index=names)
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return np.array([renamed(each, names) for each in value], dtype=object)
    if is_dataclass(value) or isinstance(value, BaseModel):
        clone = copy.copy(value)
        for name, each in list(vars(value).items()):
            clone.__dict__[name] = renamed(each, names)
        return clone
    return value


def assert_escaped(render: Callable[[Any], str], data: Any, *names: str) -> None:
    """Assert that a page with hostile `names` has the tags of one with harmless names and shows the names.

    Each of `names` must be shown in a text of the page, read once by a browser: not escaped twice either.
    """
    given = {name: name + HOSTILE for name in names}
    plain, hostile = Page(render(data)), Page(render(renamed(data, given)))
    assert hostile.tags == plain.tags
    assert hostile.attributes == plain.attributes
    for name in given.values():
        assert name in hostile.text, f"{name} is not shown as it is"
    for figure in hostile.figures.values():
        for text in _texts(figure):
            assert "<script" not in text, f"plotly would read HTML: {text}"
            assert "<img" not in text, f"plotly would read HTML: {text}"


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return [text for each in value for text in _texts(each)] if isinstance(value, list) else []
