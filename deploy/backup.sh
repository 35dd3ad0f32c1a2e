#!/bin/sh
# Copies the journal into LOCKSTEP_BACKUPS and keeps the newest LOCKSTEP_BACKUPS_KEPT copies.
set -eu

: "${LOCKSTEP_JOURNAL:?the journal file}" "${LOCKSTEP_BACKUPS:?the folder for copies}"
root=$(dirname "$(dirname "$0")")
copy="$LOCKSTEP_BACKUPS/journal-$(date -u +%Y%m%dT%H%M%SZ).db"

mkdir -p "$LOCKSTEP_BACKUPS"
"$root/.venv/bin/python" "$root/scripts/journal.py" backup --journal "$LOCKSTEP_JOURNAL" --to "$copy"
"$root/.venv/bin/python" "$root/scripts/journal.py" verify --journal "$copy"

# Names sort by time; only copies that this script made are removed, and only after a good one.
ls "$LOCKSTEP_BACKUPS"/journal-????????T??????Z.db | sort -r | tail -n "+$((${LOCKSTEP_BACKUPS_KEPT:-168} + 1))" |
    while IFS= read -r old; do rm -f -- "$old"; done
