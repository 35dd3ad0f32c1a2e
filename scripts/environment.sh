#!/bin/sh
# Build an environment from a lock file: with uv where it works, with venv and pip otherwise, to the same effect.
# Usage: environment.sh [--bare] LOCK [FOLDER]    --bare: without Lockstep itself; FOLDER: .venv by default.
#
# A lock file is complete, so nothing is resolved, and only wheels are taken, so nothing is built with tools
# that no lock file names: an index that has moved on cannot change what is installed.
set -eu

bare=
if [ "${1:-}" = --bare ]; then
    bare=yes
    shift
fi
lock=$1
folder=${2:-.venv}
python=${PYTHON:-python3}

refuse() {
    echo "environment: $*" >&2
    exit 2
}

version=$("$python" -c '
import sys
print("%d.%d.%d" % sys.version_info[:3])
sys.exit(sys.version_info < (3, 11))' 2>/dev/null) ||
    refuse "Lockstep needs Python 3.11 or later; $python is ${version:-no working Python}. Set PYTHON=..."

# A shim of a version manager may bear the name uv and lead nowhere, so uv is run, not only looked for.
if uv --version >/dev/null 2>&1; then
    create() { uv venv --quiet --python "$python" "$folder"; }
    prepare() { :; }
    add() { uv pip install --quiet --python "$folder/bin/python" --compile-bytecode --no-deps "$@"; }
    check() { uv pip check --python "$folder/bin/python"; }
else
    pip() { "$folder/bin/python" -m pip --disable-pip-version-check "$@"; }
    create() { "$python" -m venv "$folder"; }
    # An environment that uv created has no pip.
    prepare() { pip --version >/dev/null 2>&1 || "$folder/bin/python" -m ensurepip >/dev/null; }
    # -qq: warnings about unreachable locations are noise; errors still show.
    add() { pip install -qq --no-user --no-deps "$@"; }
    check() { pip check; }
fi

add_locked() {
    add --require-hashes --only-binary :all: -r "$1" || refuse "$1 was not installed into $folder, see above"
}

if ! [ -x "$folder/bin/python" ]; then
    if [ -e "$folder" ]; then
        [ -f "$folder/pyvenv.cfg" ] || refuse "$folder is in the way and no Python environment; remove it"
        rm -rf "$folder"
    fi
    create >&2 || {
        rm -rf "$folder"
        refuse "$python did not create $folder, see above"
    }
fi
prepare || refuse "$folder has no pip, see above; remove it and try again"

echo "Installing $lock into $folder; this may take two minutes."
add_locked "$lock"
if [ -z "$bare" ]; then
    add_locked requirements-build.lock
    add --no-build-isolation --editable . || refuse "Lockstep was not installed into $folder, see above"
fi
broken=$(check 2>&1) ||
    refuse "the packages in $folder do not fit together: $(echo "$broken" | tr '\n' ' '). Remove $folder and try" \
        "again; if that does not help, $lock is incomplete: see docs/environment.md"
