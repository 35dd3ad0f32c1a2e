"""Secrets: read once from the environment or a file, shown nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from lockstep.errors import LiveError

_FOR_OTHERS = 0o077


def read_secret(
    purpose: str, *, variable: str | None, file: Path | None, environment: Mapping[str, str]
) -> SecretStr:
    """Return the secret in `file`, or else in the environment variable, without white space around it.

    LiveError, naming the place and never the value, where it is absent or other users can read the file.
    """
    if file is not None:
        return _from_file(purpose, file)
    value = environment.get(variable, "").strip() if variable else ""
    if not value:
        raise LiveError(f"{purpose}: environment variable {variable} is empty; set it")
    return SecretStr(value)


def _from_file(purpose: str, file: Path) -> SecretStr:
    try:
        if file.stat().st_mode & _FOR_OTHERS:
            raise LiveError(f"{purpose}: other users can read {file}; chmod 600 it")
        value = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LiveError(f"{purpose}: {file}: {type(error).__name__}; cannot be read; create it") from error
    if not value:
        raise LiveError(f"{purpose}: {file} is empty; write the secret into it")
    return SecretStr(value)
