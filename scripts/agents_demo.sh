#!/bin/sh
# A session of research agents on real daily bars, without a network: 100 strategies, at least ten of each kind,
# what was learned of them, and why none is promoted. `agents_demo.sh technical`: only those that read no model.
# Killed, it goes on where it was; run again, it says what it found. LOCKSTEP_AGENTS_DEMO: another folder.
set -eu
lockstep="$(cd "$(dirname "$0")/.." && pwd)/.venv/bin/lockstep"
kinds=${1:-technical,hybrid,ml}
folder=${LOCKSTEP_AGENTS_DEMO:-${TMPDIR:-/tmp}/lockstep-agents-demo-$(id -u)}/$kinds
mkdir -p "$folder"
cd "$folder"
LOCKSTEP_HOME=""
LOCKSTEP_DB="sqlite:///$folder/experiments.db"
LOCKSTEP_MODEL_STORE="$folder/store"
export LOCKSTEP_HOME LOCKSTEP_DB LOCKSTEP_MODEL_STORE

"$lockstep" agents session --symbol COMP --strategies 100 --kinds "$kinds" --goal "dips and calm days that pay after costs"
echo "All of it is in $folder; delete it to begin again."
