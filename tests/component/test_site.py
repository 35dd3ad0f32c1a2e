"""The documentation's hook, on small repositories: what is well linked builds, what is not does not."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
site_name: Small
docs_dir: docs
site_dir: build/docs
use_directory_urls: false
hooks: [docs/site.py]
plugins: []
theme: {name: material, font: false}
validation:
  nav: {omitted_files: warn, not_found: warn, absolute_links: warn}
  links: {not_found: warn, anchors: warn, absolute_links: warn, unrecognized_links: warn}
nav: [README.md, docs/page.md, {Decisions: docs/adr/}]
"""
PAGES = {
    "README.md": "# Small\n\n[page](docs/page.md#part) [decisions](docs/adr/) [settings](configs/a.yml)\n",
    "configs/a.yml": "a: 1\n",
    "docs/page.md": "# Page\n\n## Part\n\n[first](adr/0001-first.md) [up](../README.md)\n",
    "docs/adr/README.md": "# Decisions\n",
    "docs/adr/0001-first.md": "# First\n",
    "docs/site.css": "",
}


def build(folder: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    """Build PAGES with some of them changed; the names are paths with `__` for `/` and no ending."""
    pages = PAGES | {f"{name.replace('__', '/')}.md": text for name, text in changed.items()}
    for name, text in pages.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "docs/site.py", folder / "docs/site.py")
    (folder / "mkdocs.yml").write_text(CONFIG, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict"],
        cwd=folder,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_links_of_a_checkout_work_on_the_site(tmp_path: Path) -> None:
    run = build(tmp_path)
    assert run.returncode == 0, run.stderr
    site = tmp_path / "build/docs"
    home = (site / "index.html").read_text(encoding="utf-8")
    for link in ("docs/page.html#part", "docs/adr/index.html", "configs/a.yml"):
        assert f'href="{link}"' in home
        assert (site / link.partition("#")[0]).is_file()
    assert (site / "docs/adr/0001-first.html").is_file()


@pytest.mark.parametrize(
    ("page", "text", "said"),
    [
        ("docs__page", "# Page\n\n## Part\n\n[x](nowhere.md)\n", "nowhere.md"),
        ("docs__page", "# Page\n\n## Another part\n", "does not contain an anchor '#part'"),
        ("docs__more", "# More\n", "not included in the"),
        ("docs__page", '# Page\n\n## Part\n\n<script src="https://cdn.example/x.js"></script>\n', "network"),
    ],
)
def test_a_broken_site_is_refused(tmp_path: Path, page: str, text: str, said: str) -> None:
    run = build(tmp_path, **{page: text})
    assert run.returncode != 0
    assert said in run.stderr


def test_docstrings_keep_their_layout() -> None:
    spec = importlib.util.spec_from_file_location("names", ROOT / "docs/names.py")
    assert spec is not None
    assert spec.loader is not None
    names = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(names)
    text = """Do it.

start, end   first and last
             day
x    price

>>> 1 + 1
2

Prose."""
    assert (
        names.as_markdown(text)
        == """Do it.

- `start`, `end`: first and last day
- `x`: price

```pycon
>>> 1 + 1
2
```

Prose."""
    )
