#!/bin/sh
# The main job on real bars, from backtest to a live engine that is killed, in a store of the demo's own:
# backtest, train, validate, certify, promote, make a portfolio, stress it, trade on paper, watch it, report it. Verdicts are printed as they are.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
out=results/demo
rm -rf "$out"
mkdir -p "$out"
LOCKSTEP_DB="sqlite:///$PWD/$out/experiments.db"
LOCKSTEP_MODEL_STORE="$PWD/$out/store"
export LOCKSTEP_DB LOCKSTEP_MODEL_STORE

say() { printf '\n== %s\n' "$*"; }

say "Backtest the IBS strategy"
"$python" -m research.backtest_runner --symbol COMP --out "$out"
"$python" -m research.backtest_runner --symbol SPX --start 2008-01-02 --out "$out"

for symbol in COMP SPX; do
    say "Train a veto for $symbol (a small search)"
    "$python" scripts/train_model.py --config "configs/demo/$symbol.yml" --out "$out/training" --by demo
    say "Validate it"
    "$python" scripts/validate_model.py "$symbol" --version v1 --run-dir "$(echo "$out"/training/"$symbol"-*)" ||
        echo "The verdict stands: this model does not pass."
done

say "Certify parity: research, sweep and a live engine that is killed on the way"
"$python" scripts/check_parity.py --symbol COMP,SPX --version v1 --start 2016-01-04 --restarts 1 --by demo

for symbol in COMP SPX; do
    say "Promote $symbol v1"
    "$python" scripts/promote_model.py "$symbol" v1 --by demo || {
        echo "Refused, as it should be. The demo goes on in a store of its own, by force, which is recorded:"
        "$python" scripts/promote_model.py "$symbol" v1 --by demo --force --reason demo
    }
done

say "Make one portfolio of both: what the models answered out of sample, whole contracts, limits"
"$python" scripts/optimize_portfolio.py --plan configs/demo/portfolio.yml --runs "$out/training" \
    --out "$out/portfolio_config.yml" --results "$out/portfolio"
"$python" -m research.backtest_runner --portfolio "$out/portfolio_config.yml" --start 2012-01-03 \
    --end 2015-12-31 --out "$out" --verify

say "Stress it: crises, a gap at every open bar, the gate at a drawdown of 40 %"
.venv/bin/lockstep stress --portfolio "$out/portfolio_config.yml" --end 2015-12-31 --out "$out" ||
    echo "The verdict stands: no desk should trade these sizes. The demo goes on, on paper."

say "Certify the portfolio: both engines and a live one that is killed, with the limits of the demo's desk"
"$python" scripts/check_parity.py --desk configs/demo/live.yml --start 2016-01-04 --restarts 1 ||
    echo "A lane that never traded on these dates is no certificate; the paper run below shows what it does."

say "Trade the portfolio on paper: 2018, bar by bar, killed after half of it and started again"
"$python" -m certify.paper configs/demo/live.yml "$out/live" --kill-after 120
"$python" scripts/status.py --file "$out/live/status.json" || true
.venv/bin/lockstep portfolio show --config configs/demo/live.yml --last 5 || true

say "Watch the desk: outcomes of its signals, alarms, drift, regime, live against backtest"
.venv/bin/lockstep monitor run --config configs/demo/monitoring.yml
.venv/bin/lockstep monitor show --config configs/demo/monitoring.yml || true

say "Measure what its positions may cost in the next session"
.venv/bin/lockstep risk --desk configs/demo/live.yml
"$python" scripts/check_parity.py --journal "$out/live/paper.db"

say "Report its year on paper: December, and all before it, as a page and as a PDF"
.venv/bin/lockstep report --desk configs/demo/live.yml --monitoring configs/demo/monitoring.yml --month 2018-12 --pdf \
    --out "$out"

say "Search a night: two declared spaces on both indices, to a page that says why nothing is promoted"
.venv/bin/lockstep pipeline run --config configs/demo/nightly.yml
.venv/bin/lockstep pipeline show --config configs/demo/nightly.yml

say "Look at it in the browser: http://localhost:8790, as soon as this is running"
echo ".venv/bin/lockstep dashboard --config configs/demo/live.yml --monitoring configs/demo/monitoring.yml"
