#!/bin/sh
# Resolve the lock files, for all platforms, with hashes; needs uv. What is locked stays unless an argument asks:
# lock.sh --upgrade, or lock.sh --upgrade-package numpy.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python

uv --version >/dev/null 2>&1 || {
    echo "lock: resolving for all platforms needs uv, which is not there or does not work" >&2
    exit 2
}
resolve() {
    uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --no-header "$@"
}

resolve setup.cfg --output-file requirements.lock "$@"
# These take the versions of the lock before, so that one environment can hold them all. A package that is for
# Python in a browser has no place in them.
resolve setup.cfg --extra dev --extra notebooks --extra cluster --extra boosting --extra shap --extra agents \
    --no-emit-package httpx2-jsfetch --constraint requirements.lock --output-file requirements-dev.lock "$@"
resolve setup.cfg --extra notebooks --constraint requirements-dev.lock \
    --output-file requirements-notebooks.lock "$@"
# The peers live in an environment of their own.
resolve benchmarks/peers/requirements.txt --output-file benchmarks/peers/requirements.lock "$@"
# So does Prefect, which asks for other versions than Lockstep.
resolve deploy/prefect/requirements.txt --output-file deploy/prefect/requirements.lock "$@"
"$python" -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' |
    resolve - --output-file requirements-build.lock "$@"

# environment.sh takes wheels only: there must be one of everything.
for lock in requirements*.lock benchmarks/peers/requirements.lock deploy/prefect/requirements.lock; do
    for machine in x86_64 aarch64; do
        for version in 3.11 3.12 3.13; do
            uv pip install --dry-run --quiet --target build --python "$python" --python-version "$version" \
                --python-platform "$machine-unknown-linux-gnu" \
                --no-deps --require-hashes --only-binary :all: -r "$lock"
        done
    done
done
"$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip >/dev/null
PYTHONPATH=tests "$python" -m support.locks
