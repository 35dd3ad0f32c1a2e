"""Structured logs: one JSON object per line, and no secret in any of them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

HIDDEN = "[secret]"

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SHORTEST = 6


class JsonLines(logging.Formatter):
    """Formats records as JSON: time (ISO, UTC), level, logger, message, `extra` fields, exception.

    Secrets are cut out of the finished line, so that no field and no traceback can hold one: the value
    itself and, of a URL, its path and the last part of its path.
    """

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        super().__init__()
        self._hidden = sorted({part for secret in secrets for part in _parts(secret)}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        line = json.dumps(fields, default=str, ensure_ascii=False)
        for part in self._hidden:
            line = line.replace(part, HIDDEN)
        return line


def _parts(secret: SecretStr) -> set[str]:
    """Return what must not appear, as JSON writes it; very short parts would cut up innocent words."""
    value = secret.get_secret_value()
    path = urlsplit(value).path if "://" in value else ""
    found = {value, path, path.rsplit("/", 1)[-1]}
    return {json.dumps(part, ensure_ascii=False)[1:-1] for part in found if len(part) >= _SHORTEST}


def configure_logs(
    file: Path | None = None, *, level: int = logging.INFO, secrets: Iterable[SecretStr] = ()
) -> logging.Handler:
    """Send all logs to `file` (reopened when it was rotated away) or stderr; return the handler to close.

    Replaces what was configured before.
    """
    handler: logging.Handler = (
        logging.StreamHandler(sys.stderr) if file is None else WatchedFileHandler(file, encoding="utf-8")
    )
    handler.setFormatter(JsonLines(secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return handler
