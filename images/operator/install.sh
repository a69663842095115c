#!/bin/sh
# The environment of the operator: its locked list and the project's own wheel, without pip.
set -eu

python=$(python3 -c 'import sys; print("py%d%d" % sys.version_info[:2])')
if [ -n "${WHEELHOUSE:-}" ]; then
    export PIP_NO_INDEX=1 PIP_FIND_LINKS="$PWD/$WHEELHOUSE"
fi
python3 -m venv --symlinks --without-pip /opt/hpi/environment
/build/tools/bin/python -m pip --python /opt/hpi/environment/bin/python install --quiet --no-deps --require-hashes \
    --no-compile --no-warn-script-location -r "configs/locks/operator-$python.txt"
/opt/hpi/environment/bin/python -I -m compileall -qq -s /opt/hpi/environment --invalidation-mode unchecked-hash \
    /opt/hpi/environment/lib
sh images/add-own-wheel.sh hpi-operator kubectl-hpi
