"""Keys that vouch for the models of another store: make one, sign a store with it, trust it in another.

model_keys.py new desk.key                          where models are trained; copy the file by a safe way
model_keys.py sign desk.key --store models          there, after every change of the manifest
model_keys.py trust desk desk.key --store engine    where they are traded
"""

from __future__ import annotations

from lockstep.console import run
from lockstep.models.cli import keys_app as app

if __name__ == "__main__":
    run(app)
