#!/bin/sh
# Resolve setup.cfg into the two lock files, for all platforms, with hashes.
set -eu
resolve() {
    uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --no-header "$@"
}
resolve setup.cfg --output-file requirements.lock
resolve setup.cfg --extra dev --extra notebooks --extra cluster --extra boosting --extra shap \
    --constraint requirements.lock --output-file requirements-dev.lock
