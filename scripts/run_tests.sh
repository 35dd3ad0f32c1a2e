#!/bin/sh
# All tests, with branch coverage over compiled and interpreted code; with arguments pytest's selection, without.
set -eu
workers=${LOCKSTEP_TEST_WORKERS:-auto}
# One test per core already; threads below that only wait for each other.
export OMP_NUM_THREADS=1

[ $# -eq 0 ] || exec pytest -n "$workers" --dist worksteal "$@"

coverage erase
pytest -n "$workers" --dist worksteal --cov --cov-report= --cov-fail-under=0

# Coverage cannot see inside compiled kernels: what they compute is run once more as plain Python.
NUMBA_DISABLE_JIT=1 pytest -n "$workers" -m uncompiled --cov --cov-append --cov-report= --cov-fail-under=0 -q
coverage report
