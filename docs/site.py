"""MkDocs hook: the site is the repository's own documents, at their own paths.

README.md, CONTRIBUTING.md, CHANGELOG.md, `deploy/` and `docs/` link to one another as files in a checkout.
This hook puts them into the site at the same relative paths, together with every other file that one of
them links to (a configuration, a script), so a link that works in the checkout works on the site, and vice
versa. A link to a folder goes to its README. A link to a missing file stays broken, which a strict build
refuses; a page that would load a script, a style or a picture from the network is refused as well.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/**/*.md", "docs/**/*.md")
_STATIC = ("docs/site.css",)
_LOADS = re.compile(r"<(?:script|img|iframe|link rel=\"stylesheet\")[^>]*?(?:src|href)=\"(https?:[^\"]*)")
_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace each folder in the navigation (`docs/adr/`) by its README and its other pages, by name."""
    config.nav = [_expand(entry) for entry in config.nav or []]
    return config


def _expand(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {title: _expand(value) for title, value in entry.items()}
    if isinstance(entry, list):
        return [_expand(value) for value in entry]
    if not str(entry).endswith("/"):
        return entry
    names = sorted(path.name for path in (ROOT / entry).glob("*.md") if path.name != "README.md")
    return [f"{entry}{name}" for name in ("README.md", *names)]


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Exchange the files of `docs_dir` for the pages of the repository and the files that they link to."""
    for file in [each for each in files if each.src_dir == config.docs_dir]:
        files.remove(file)
    pages = sorted({path for pattern in _PAGES for path in ROOT.glob(pattern)})
    linked = {target for page in pages for target in _targets(page)}
    static = linked.union(ROOT / name for name in _STATIC) - set(pages)
    for path in [*pages, *sorted(static)]:
        uri = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def _targets(page: Path) -> list[Path]:
    """Return the files of the repository that a page links to, pictures included."""
    links = _LINK.findall(page.read_text(encoding="utf-8"))
    paths = [(page.parent / target).resolve() for _, target, _ in links]
    return [path for path in paths if path.is_file() and path.is_relative_to(ROOT)]


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Let links to a folder point to the README in it, and let the README of the decisions list them."""
    folder = (ROOT / page.file.src_uri).parent
    if page.file.src_uri == "docs/adr/README.md":
        pages = sorted(each for each in folder.glob("*.md") if each.name != "README.md")
        markdown += "\n".join(["", *(f"- [{_title(each)}]({each.name})" for each in pages)])

    def with_readme(link: re.Match[str]) -> str:
        opening, target, rest = link.groups()
        if (folder / target / "README.md").is_file():
            target = f"{target.rstrip('/')}/README.md"
        return f"{opening}{target}{rest}"

    return _LINK.sub(with_readme, markdown)


def _title(page: Path) -> str:
    """Return the first heading of a page, its number escaped, since it would begin a list."""
    first = page.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ").replace(". ", "\\. ", 1)


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Refuse a page that needs the network. Raises PluginError."""
    if loaded := _LOADS.findall(output):
        raise PluginError(f"{page.file.src_uri} loads {loaded[0]}: pages must work without a network")
    return output
