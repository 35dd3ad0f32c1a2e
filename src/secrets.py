"""`Secrets`: read once from the environment or a file, shown nowhere, and cut out of every text."""

from __future__ import annotations

import base64
import ctypes
import html
import re
import resource
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from lockstep.errors import LiveError

HIDDEN = "[secret]"
SHORTEST = 12  # characters; what is shorter would cut up innocent words

_FOR_OTHERS = 0o077
_LONGEST = 4_096  # bytes of a secret's file
_MARK = "\ufeff"
# What gives a secret away: any piece of this many characters, or the shorter one where no word looks like it.
_PIECE, _SHORT_PIECE = SHORTEST, 8
_LIKE_WORDS = re.compile(r"[^A-Za-z0-9]*(([A-Z]?[a-z]+|[A-Z]+)([^A-Za-z0-9]+|$))*")
_SEPARATORS = re.compile(r"[/?&=;]")
_LAYERS = 4  # of escapes within escapes
_ESCAPE = re.compile(
    r"""%([0-9A-Fa-f]{2})                        # URL
      | \\u([0-9A-Fa-f]{4}) | \\U([0-9A-Fa-f]{8}) | \\x([0-9A-Fa-f]{2}) | \\([0-7]{3}) | \\(.)  # JSON, repr
      | &\#([0-9]{1,7});? | &\#[xX]([0-9A-Fa-f]{1,6});? | &([A-Za-z][A-Za-z0-9]{1,31});         # HTML
    """,
    re.VERBOSE,
)
_BASES = (16, 16, 16, 16, 8, None, 10, 16, None)  # of the groups of _ESCAPE
_UPPER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_PR_SET_DUMPABLE = 4


class Secrets:
    """All secrets of a process. What `read` returns is known from then on, and `scrub` removes it.

    One object serves log, alerts, journal, status and broker; it may be used by any thread.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._long: frozenset[str] = frozenset()
        self._short: frozenset[str] = frozenset()

    def read(self, purpose: str, *, variable: str | None, file: Path | None) -> SecretStr:
        """Return the secret in `file`, or else in the environment variable, without white space around it.

        LiveError, naming the place and never the value, where it is absent, other users can read the file,
        or it is not one line of printable characters, enough of them; see `add`.
        """
        where = f"environment variable {variable}" if file is None else str(file)
        text = self._environment.get(variable or "", "") if file is None else _text_of(purpose, file)
        value = text.strip()
        if not value:
            todo = "set it" if file is None else "write the secret into it"
            raise LiveError(f"{purpose}: {where} is empty; {todo}")
        if value.startswith(_MARK):
            raise LiveError(f"{purpose}: {where} begins with a byte order mark; save it without")
        if any(each.isspace() or not each.isprintable() for each in value):
            raise LiveError(f"{purpose}: {where} is not one line of printable characters; copy it again")
        self.add(purpose, SecretStr(value))
        return SecretStr(value)

    def add(self, purpose: str, secret: SecretStr) -> None:
        """Know a secret; LiveError where its secret part is too short to be told from ordinary words.

        Of a URL the secret part is whatever in path and query does not look like a word, and the last part.
        """
        parts = {form for part in _secret_parts(secret.get_secret_value()) for form in (part, unquote(part))}
        if not any(len(part) >= SHORTEST for part in parts):
            raise LiveError(
                f"{purpose}: its secret part has fewer than {SHORTEST} characters, too few to be kept out of "
                "logs; make a longer one"
            )
        encoded = {text for part in parts for text in (part, part.encode().hex(), *_in_base64(part))}
        self._long |= {piece.translate(_UPPER) for text in encoded for piece in _pieces(text, _PIECE)}
        self._short |= {
            piece.translate(_UPPER)
            for text in encoded
            for piece in _pieces(text, _SHORT_PIECE)
            if _like_no_word(piece)
        }

    def scrub(self, text: str) -> str:
        """Return `text` with every secret replaced by [secret], and everything else as it is.

        Found are pieces of a secret, from 12 characters on (8 where they look like no word), in any case;
        as URLs, JSON, HTML, Python, hexadecimal and base64 write them, also one in the other; and with white
        space or invisible characters in between. Scrub before you cut: the rest of a piece is not found.
        """
        if not self._long:
            return text
        spans = sorted(span for layer in _layers(text) for span in self._found(layer))
        parts: list[str] = []
        end = 0
        for first, last in spans:
            if first > end or not parts:
                parts += [text[end:first], HIDDEN]
            end = max(end, last)
        return "".join(parts) + text[end:]

    def scrubbed(self, value: Any) -> Any:
        """Return plain JSON, or tuples of it, with every text in it scrubbed, keys included."""
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, Mapping):
            return {self.scrubbed(key): self.scrubbed(each) for key, each in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_make"):
            return value._make(map(self.scrubbed, value))
        if isinstance(value, list | tuple):
            return type(value)(map(self.scrubbed, value))
        return value

    def _found(self, layer: _Layer) -> Iterator[tuple[int, int]]:
        folded = layer.text.translate(_UPPER)
        for size, known in ((_PIECE, self._long), (_SHORT_PIECE, self._short)):
            for first in range(len(folded) - size + 1):
                if folded[first : first + size] in known:
                    yield layer.spans[first][0], layer.spans[first + size - 1][1]


def forbid_core_dumps() -> None:
    """Keep the memory of this process, and the secrets in it, off the disk when it crashes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # A pipe in core_pattern ignores the limit.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _text_of(purpose: str, file: Path) -> str:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise LiveError(f"{purpose}: {file} is no regular file; write the secret into one")
        if found.st_mode & _FOR_OTHERS:
            raise LiveError(f"{purpose}: other users can read {file}; chmod 600 it")
        if found.st_size > _LONGEST:
            raise LiveError(f"{purpose}: {file} has {found.st_size} bytes; a secret has at most {_LONGEST}")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LiveError(f"{purpose}: {file}: {type(error).__name__}; cannot be read; create it") from error


# Pieces of a secret


def _secret_parts(value: str) -> list[str]:
    if "://" not in value:
        return [value]
    parts = urlsplit(value)
    *middle, last = [each for each in _SEPARATORS.split(f"{parts.path}?{parts.query}") if each] or [""]
    return [*(each for each in middle if not _LIKE_WORDS.fullmatch(each)), last]


def _pieces(text: str, size: int) -> Iterator[str]:
    return (text[first : first + size] for first in range(len(text) - size + 1))


def _like_no_word(piece: str) -> bool:
    """Whether neither words nor plain numbers (stamps, counts) are written like this."""
    return any(each.isalpha() for each in piece) and not _LIKE_WORDS.fullmatch(piece)


def _in_base64(part: str) -> Iterator[str]:
    """Yield what base64 makes of the part wherever it stands in a longer text: three alignments."""
    for before in range(3):
        content = b"\0" * before + part.encode()
        first, last = -(-8 * before // 6), 8 * len(content) // 6  # characters that only the part decides
        for code in (base64.b64encode, base64.urlsafe_b64encode):
            yield code(content).decode()[first:last]


# Texts in which to look


class _Layer(NamedTuple):
    """A text without white space and invisible characters; spans   where each character came from."""

    text: str
    spans: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, characters: Sequence[str], spans: Sequence[tuple[int, int]]) -> _Layer:
        kept = [
            (each, span)
            for each, span in zip(characters, spans, strict=True)
            if each.isprintable() and not each.isspace()
        ]
        return cls("".join(each for each, _ in kept), [span for _, span in kept])

    def decoded(self) -> _Layer:
        """Return the layer below: each escape replaced by the character that it stands for."""
        characters: list[str] = []
        spans: list[tuple[int, int]] = []
        end = 0
        for escape in _ESCAPE.finditer(self.text):
            first, last = escape.span()
            meaning = _meaning(escape)
            characters += [*self.text[end:first], *meaning]
            whole = (self.spans[first][0], self.spans[last - 1][1])
            spans += [*self.spans[end:first], *([whole] if len(meaning) == 1 else self.spans[first:last])]
            end = last
        return _Layer.of([*characters, *self.text[end:]], [*spans, *self.spans[end:]])


def _layers(text: str) -> Iterator[_Layer]:
    """Yield the text as it is, then with the escapes in it decoded, as long as there are any."""
    layer = _Layer.of(text, [(place, place + 1) for place in range(len(text))])
    for _ in range(_LAYERS):
        yield layer
        if not _ESCAPE.search(layer.text):
            return
        layer = layer.decoded()
    yield layer


def _meaning(escape: re.Match[str]) -> str:
    """Return the character that an escape stands for: a blank for white space, itself where it is none."""
    group = escape.lastindex or 0
    text, base = escape[group], _BASES[group - 1]
    if base is not None:
        code = int(text, base)
        return chr(code) if code <= sys.maxunicode else escape[0]
    if escape[0].startswith("&"):
        meaning = html.unescape(escape[0])
        return meaning if len(meaning) == 1 else escape[0]
    return " " if text in "nrtfbv0" else text
