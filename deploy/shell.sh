#!/bin/sh
# Opens a shell as the engine's user: its folder, its settings, its Python. All runbooks begin with it.
exec sudo -u lockstep -H sh -c '
    cd /opt/lockstep && set -a && . /etc/lockstep/lockstep.env && set +a &&
    PATH="/opt/lockstep/.venv/bin:$PATH" exec bash --norc'
