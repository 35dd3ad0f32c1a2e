"""The forms in which a server or a library may echo a secret, and a search that undoes them."""

from __future__ import annotations

import base64
import html
import json
import urllib.parse
from collections.abc import Callable


def spread(text: str) -> str:
    """As a log or a terminal breaks a long word."""
    return "\r\n    ".join(text[first : first + 5] for first in range(0, len(text), 5))


FORMS: dict[str, Callable[[str], str]] = {
    "verbatim": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "URL": lambda text: urllib.parse.quote(text, safe=""),
    "URL in lower case": lambda text: urllib.parse.quote(text, safe="").lower(),
    "URL within a URL": lambda text: urllib.parse.quote(urllib.parse.quote(text, safe=""), safe=""),
    "every character as URL": lambda text: "".join(f"%{ord(each):02x}" for each in text),
    "JSON": lambda text: json.dumps({"path": text}),
    "JSON within JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON with every escape": lambda text: "".join(f"\\u{ord(each):04X}" for each in text),
    "HTML": html.escape,
    "HTML numbers": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "HTML hexadecimal": lambda text: "".join(f"&#x{ord(each):X};" for each in text),
    "URL in HTML in JSON": lambda text: json.dumps(html.escape(urllib.parse.quote(text))),
    "Python": repr,
    "Python bytes": lambda text: repr(text.encode()),
    "hexadecimal escapes": lambda text: "".join(f"\\x{ord(each):02x}" for each in text),
    "octal": lambda text: "".join(f"\\{ord(each):03o}" for each in text),
    "hexadecimal": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of more": lambda text: base64.b64encode(f"user:{text}:".encode()).decode(),
    "base64 of yet more": lambda text: base64.b64encode(f"a:{text}".encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 in lines": lambda text: base64.encodebytes(text.encode() * 3).decode(),
    "broken into lines": spread,
    "invisible marks": "\u200b".join,
    "NULs": "\0".join,
}


def fragments(text: str, secret: str, size: int = 8) -> set[str]:
    """Return the pieces of a secret in a text, however it is written: found by undoing each form."""
    visible = "".join(each for each in text if each.isprintable() and not each.isspace())
    shown = {text, visible}
    for _ in range(3):
        shown |= {urllib.parse.unquote(each) for each in shown} | {html.unescape(each) for each in shown}
        shown |= {unescaped(each) for each in shown}
    seen = "\n".join(shown).lower()
    verbatim = {secret[first : first + size] for first in range(len(secret) - size + 1)}
    encoded = {
        code(b"\0" * shift + piece.encode()).decode()[4:-4].lower()
        for piece in (secret[first : first + 12] for first in range(len(secret) - 11))
        for shift in range(3)
        for code in (base64.b64encode, base64.urlsafe_b64encode)
    }
    pieces = encoded | {piece.lower() for piece in verbatim} | {piece.encode().hex() for piece in verbatim}
    return {piece for piece in pieces if piece in seen}


def unescaped(text: str) -> str:
    try:
        return text.encode("latin-1", "backslashreplace").decode("unicode_escape")
    except UnicodeDecodeError:
        return text
