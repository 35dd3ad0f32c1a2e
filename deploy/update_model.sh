#!/bin/sh
# Bring a model version from where it was trained into production here, and back out if the engine does not
# take it: fetch, check, validate, certify, promote, wait, roll back. Exit code 0: the engine trades it. 1: it does not,
# and production is what it was. 2: refused, nothing has changed. 3: look at it yourself, now.
set -eu

usage() {
    cat >&2 <<'USAGE'
usage: update_model.sh SYMBOL VERSION (--from FOLDER | --git URL [--ref REF] [--path FOLDER])
                       [--sha256 HEX] [--store FOLDER] [--status FILE] [--timeout SECONDS] [--by NAME] [--reason TEXT]

--from     store folder with manifest.json, the bundle and its reports
--git      repository that holds such a folder at --path (default src/models), at --ref (default: its HEAD)
--sha256   hash of the bundle, told by another channel than that folder or repository; without it the store
           there must be signed by a key that the engine's store trusts (scripts/model_keys.py)
--store    store of the engine (default: LOCKSTEP_MODEL_STORE, or that of this checkout)
--status   status file of the running engine: JSON with {"versions": {SYMBOL: version}}; none: do not wait
--timeout  seconds that the engine has to take the version (default 120)

LOCKSTEP_PYTHON, LOCKSTEP_VALIDATE, LOCKSTEP_CERTIFY: other commands for Python, validation and certificate.
USAGE
    exit 2
}

fail() { # exit code, text
    echo "update_model: $2" >&2
    exit "$1"
}

say() { echo "update_model: $*"; }

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
python=${LOCKSTEP_PYTHON:-"$root/.venv/bin/python"}
validate=${LOCKSTEP_VALIDATE:-"$python $root/scripts/validate_model.py"}
certify=${LOCKSTEP_CERTIFY:-"$python $root/scripts/check_parity.py"}

[ $# -ge 2 ] || usage
symbol=$1 version=$2
shift 2
from='' git='' ref='' path=src/models sha256='' store='' status='' timeout=120 by='' reason=''
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
        --from) from=$2 ;;
        --git) git=$2 ;;
        --ref) ref=$2 ;;
        --path) path=$2 ;;
        --sha256) sha256=$2 ;;
        --store) store=$2 ;;
        --status) status=$2 ;;
        --timeout) timeout=$2 ;;
        --by) by=$2 ;;
        --reason) reason=$2 ;;
        *) usage ;;
    esac
    shift 2
done
case $timeout in '' | *[!0-9]*) fail 2 "--timeout '$timeout': must be whole seconds" ;; esac
if [ -n "$from" ] && [ -n "$git" ]; then usage; fi
if [ -z "$from" ] && [ -z "$git" ]; then usage; fi
if [ -n "$store" ]; then
    LOCKSTEP_MODEL_STORE=$store
    export LOCKSTEP_MODEL_STORE
fi

production() { # prints the version in production, or nothing
    "$python" "$root/scripts/list_models.py" --json | "$python" -c '
import json, sys
models = json.load(sys.stdin)["instruments"].get(sys.argv[1], {}).get("ibs_veto", {})
print(models.get("production") or "")' "$symbol"
}

running() { # prints the version that the engine says it trades, or nothing
    "$python" -c '
import json, sys
try:
    with open(sys.argv[1], encoding="utf-8") as stream:
        print(json.load(stream)["versions"].get(sys.argv[2], ""))
except (OSError, ValueError, KeyError, TypeError, AttributeError):
    print("")' "$status" "$symbol"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 3' HUP INT TERM

if [ -n "$git" ]; then
    say "cloning $git"
    git clone --quiet --no-checkout "$git" "$work/artefacts" || fail 2 "$git: cannot be cloned; check the address"
    git -C "$work/artefacts" checkout --quiet "${ref:-HEAD}" -- || fail 2 "$git: no revision '${ref:-HEAD}'"
    from=$work/artefacts/$path
fi
[ -d "$from" ] || fail 2 "$from: not a folder; it must hold manifest.json and the bundle"

"$python" "$root/scripts/fetch_model.py" "$symbol" "$version" --from "$from" ${sha256:+--sha256 "$sha256"} \
    ${by:+--by "$by"} || fail 2 "fetching failed; production is unchanged"
before=$(production) || fail 2 "the store cannot be read; production is unchanged"
if [ "$before" = "$version" ]; then
    say "$symbol $version is in production already"
else
    say "validating $symbol $version"
    $validate "$symbol" --version "$version" || fail 1 "validation did not pass; production is still ${before:-none}"
    say "certifying parity of $symbol $version"
    $certify --symbol "$symbol" --version "$version" || fail 1 "parity is not certified; production is still ${before:-none}"
    "$python" "$root/scripts/promote_model.py" "$symbol" "$version" --reason "${reason:-update_model.sh}" \
        ${by:+--by "$by"} || fail 1 "promotion was refused; production is still ${before:-none}"
fi

if [ -z "$status" ]; then
    say "done; no status file was named, so nobody has looked whether the engine took it"
    exit 0
fi
say "waiting up to $timeout s for the engine to trade $symbol $version"
waited=0
while [ "$(running)" != "$version" ]; do
    if [ "$waited" -ge "$timeout" ]; then
        [ "$before" != "$version" ] || fail 1 "the engine trades '$(running)', not $version; restart or look at it"
        [ -n "$before" ] || fail 3 "the engine did not take $version, and there is no version to go back to"
        "$python" "$root/scripts/rollback_model.py" "$symbol" --version "$before" ${by:+--by "$by"} \
            --reason "the engine did not take $version within $timeout s" ||
            fail 3 "the engine did not take $version, AND THE ROLLBACK FAILED: production is $version"
        fail 1 "the engine did not take $version within $timeout s; production is $before again"
    fi
    sleep 1
    waited=$((waited + 1))
done
say "the engine trades $symbol $version"
