#!/bin/sh
# Copies journal, model store, trial ledger, the monitor's database and the book of retrainings as one verified set into
# LOCKSTEP_BACKUPS, and keeps the newest LOCKSTEP_BACKUPS_KEPT sets. What is not set in the environment (a desk without a
# ledger), and what is not there yet (a monitor that has not run, no retraining so far), is left out; the output says so.
set -eu

: "${LOCKSTEP_JOURNAL:?the journal file}" "${LOCKSTEP_BACKUPS:?the folder for copies}"
root=$(dirname "$(dirname "$0")")
exec "$root/.venv/bin/python" "$root/scripts/backup.py" create --keep "${LOCKSTEP_BACKUPS_KEPT:-168}"
