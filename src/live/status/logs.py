"""Structured logs: one JSON object per line, and no secret in any of them, nor on stderr."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, TextIO

from lockstep.secrets import Secrets, forbid_core_dumps

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LONGEST_LINE = 65_536


class JsonLines(logging.Formatter):
    """Formats records as JSON: time (ISO, UTC), level, logger, message, `extra` fields, exception.

    Every text in them is scrubbed of what `secrets` knows when the line is written.
    """

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

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
        return json.dumps(self._secrets.scrubbed(fields), default=self._shown, ensure_ascii=False)

    def _shown(self, value: object) -> str:
        return self._secrets.scrub(str(value))


def configure_logs(
    secrets: Secrets, file: Path | None = None, *, level: int = logging.INFO
) -> logging.Handler:
    """Send all logs to `file` (reopened when it was rotated away) or stderr; return the handler to close.

    Replaces what was configured before. Characters that UTF-8 cannot hold are written as escapes.
    """
    handler: logging.Handler = (
        logging.StreamHandler(sys.stderr)
        if file is None
        else WatchedFileHandler(file, encoding="utf-8", errors="backslashreplace")
    )
    handler.setFormatter(JsonLines(secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return handler


class ScrubbedStream(io.TextIOBase):
    """A stream that secrets do not pass: lines wait until they are whole, then they are scrubbed."""

    def __init__(self, stream: TextIO, secrets: Secrets) -> None:
        super().__init__()
        self._stream = stream
        self._secrets = secrets
        self._lock = threading.RLock()
        self._rest = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream behind it."""
        return self._stream.encoding

    def fileno(self) -> int:
        """Return the descriptor behind it."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Return whether a terminal is behind it."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Take a text and pass on the lines that are whole."""
        with self._lock:
            lines, newline, self._rest = (self._rest + text).rpartition("\n")
            self._pass_on(lines + newline)
            if len(self._rest) > _LONGEST_LINE:
                self.flush()
        return len(text)

    def flush(self) -> None:
        """Pass on what waits."""
        with self._lock:
            rest, self._rest = self._rest, ""
            self._pass_on(rest)

    def _pass_on(self, text: str) -> None:
        if text:
            self._stream.write(self._secrets.scrub(text))
            self._stream.flush()


def guard_process(secrets: Secrets) -> None:
    """Let no secret out by the back doors, core dumps and stderr, for as long as the process lives.

    What reaches stderr is scrubbed: errors that end the process or a thread, warnings, what libraries say.
    Tracebacks are plain: a frame drawn around them would cut a secret into lines.
    """
    forbid_core_dumps()
    sys.stderr = ScrubbedStream(sys.stderr, secrets)
    sys.excepthook = _print_traceback
    threading.excepthook = lambda died: _print_traceback(died.exc_type, died.exc_value, died.exc_traceback)


def _print_traceback(kind: Any, error: BaseException | None, trace: Any) -> None:
    if kind is not SystemExit:
        sys.stderr.write("".join(traceback.format_exception(kind, error, trace)))
