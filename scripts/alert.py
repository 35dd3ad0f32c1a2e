"""Send one alert from outside the engine: `alert.py --kind stop "engine failed"`. For units that watch it."""

from __future__ import annotations

from lockstep.console import run
from lockstep.live.cli import alert_app as app

if __name__ == "__main__":
    run(app)
