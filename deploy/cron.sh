#!/bin/sh
# Does for cron what a timer of deploy/systemd does: `cron.sh NAME` runs the command of lockstep-NAME.service with the
# settings of the installation, one at a time, behind the engine; where it fails, that of lockstep-NAME-failure.service.
set -eu

name=${1:?which unit, such as nightly}
cd "$(dirname "$0")/.."
set -a
. "${SETTINGS:-/etc/lockstep/lockstep.env}"
set +a

command_of() {
    sed -n 's/^ExecStart=//p' "deploy/systemd/lockstep-$1.service" | sed "s#/opt/lockstep/#$PWD/#g; s#%H#$(uname -n)#g"
}

locks=${LOCKS:-/var/lib/lockstep/locks}
mkdir -p "$locks"
exec 9>"$locks/$name"
flock -n 9 || {
    echo "$name: is running already"
    exit 0
}
code=0
eval "nice -n 10 $(command_of "$name")" || code=$?
if [ "$code" != 0 ]; then
    eval "$(command_of "$name-failure")"
fi
exit "$code"
