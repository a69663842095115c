#!/bin/sh
# The environment of an agent: $VARIANT with $FEATURES, as `hpi-agent install` makes it, and the project's own wheel.
. images/stages/tools.sh

converter=no
case " $FEATURES " in *" convert "*) converter=yes ;; esac
if [ "$converter" = yes ] && ! python3 -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2> /dev/null; then
    echo "The feature convert needs a base with libgomp.so.1, which this one lacks (Debian, Ubuntu: package libgomp1)." >&2
    exit 1
fi

# What installs is an agent itself.
list=agent
install_list
install_own_wheel

set -- "$VARIANT" --store /build/store
for feature in $FEATURES; do
    # The converter has an environment of its own.
    [ "$feature" = convert ] || set -- "$@" --feature "$feature"
done
[ -z "${WHEELHOUSE:-}" ] || set -- "$@" --wheelhouse "$PWD/$WHEELHOUSE"
"$tools/bin/hpi-agent" install "$@"
mkdir -p /opt/hpi/plugins
mv "/build/store/plugins/$VARIANT"-* "$environment"
# Of the store alone, where every file is compared with it.
rm "$environment"/manifest*.json
install_own_wheel --python "$environment/bin/python"
compile_modules "$environment"/lib/python3*/site-packages/hpi_*
keep_commands hpi-agent

# A store that nobody writes: the program finds it by $HPI_PLUGINS.
if [ "$converter" = yes ]; then
    set -- paddle2onnx --store /opt/hpi/plugins
    [ -z "${WHEELHOUSE:-}" ] || set -- "$@" --wheelhouse "$PWD/$WHEELHOUSE"
    "$tools/bin/hpi-agent" install "$@"
fi
