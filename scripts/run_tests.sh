#!/bin/sh
# All tests, with branch coverage over compiled and interpreted code; with arguments pytest's selection, without.
set -eu
workers=${LOCKSTEP_TEST_WORKERS:-auto}
# One test per core already; threads below that only wait for each other.
export OMP_NUM_THREADS=1
# Tests start some hundred processes: each module is parsed once, for all of them.
unset PYTHONDONTWRITEBYTECODE

[ $# -eq 0 ] || exec pytest -n "$workers" --dist worksteal "$@"

# Measuring doubles the time that Python takes. So it is left out where other tests go through the same code.
unmeasured="tests/property tests/simulation"
pytest -n "$workers" --dist worksteal $unmeasured
coverage erase
pytest -n "$workers" --dist worksteal --cov --cov-report= --cov-fail-under=0 $(printf -- "--ignore=%s " $unmeasured)

# Coverage cannot see inside compiled kernels: what they compute is run once more as plain Python. Collecting takes
# each worker half a minute: only files with such tests are read.
uncompiled=$(grep -rlw --include='test_*.py' 'mark\.uncompiled' tests)
NUMBA_DISABLE_JIT=1 pytest -n "$workers" --dist worksteal -m uncompiled --cov --cov-append --cov-report= \
    --cov-fail-under=0 -q $uncompiled
coverage report
