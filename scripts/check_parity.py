"""Parity certificate: `check_parity.py --symbol COMP [--version v3] [--restarts 5]`, or `--journal FILE`."""

from certify.command import app
from lockstep.console import run

if __name__ == "__main__":
    run(app)
