"""Copy a version from another store: `fetch_model.py ES v3 --from FOLDER`.

The store is pinned: its manifest is signed by a key that this one trusts (`model_keys.py`), or `--sha256` is
the bundle's hash, told by another channel than the folder.
"""

from __future__ import annotations

from lockstep.console import run
from lockstep.models.cli import fetch_app as app

if __name__ == "__main__":
    run(app)
