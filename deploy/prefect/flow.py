"""A night as a Prefect flow, for those who run Prefect already: it calls the command line and nothing else.

Prefect does not resolve beside Lockstep's lock file. It lives in an environment of its own, that of the file
`requirements.lock` beside this one; Lockstep's is another one, and `LOCKSTEP` names its command:

    python3 -m venv prefect-env
    prefect-env/bin/pip install --no-deps --require-hashes -r deploy/prefect/requirements.lock
    export LOCKSTEP=/opt/lockstep/.venv/bin/lockstep
    prefect-env/bin/python deploy/prefect/flow.py /etc/lockstep/nightly.yml

A night is safe to run again at any time: what is done is skipped. So a retry here does no harm, and a second
start while one is running is refused by Lockstep itself.
"""

from __future__ import annotations

import os
import subprocess
import sys

from prefect import flow, get_run_logger, task

LOCKSTEP = os.environ.get("LOCKSTEP", "/opt/lockstep/.venv/bin/lockstep")
RETRIES, DELAY_SECONDS = 2, 300


@task(retries=RETRIES, retry_delay_seconds=DELAY_SECONDS)
def night(config: str) -> None:
    """Run what is not done yet of tonight; a step that fails fails the task."""
    done = subprocess.run(
        [LOCKSTEP, "pipeline", "run", "--config", config], capture_output=True, text=True, check=False
    )
    logger = get_run_logger()
    for line in (done.stdout + done.stderr).splitlines():
        logger.info(line)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}")


@flow(name="lockstep-night")
def nightly(config: str) -> None:
    """One night of the research pipeline."""
    night(config)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        nightly(sys.argv[1])
    else:
        # Served: Prefect starts it, at the time of the timer in deploy/systemd.
        nightly.serve(
            name="nightly",
            cron="30 3 * * *",
            timezone="America/New_York",
            parameters={"config": "/etc/lockstep/nightly.yml"},
        )
