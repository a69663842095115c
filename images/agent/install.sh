#!/bin/sh
# The environment of the image: $VARIANT with $FEATURES, as `hpi-agent install` makes it, and the project's own wheel.
set -eu

set -- "$VARIANT" --store /build/store
for feature in $FEATURES; do
    # The converter has an environment of its own.
    [ "$feature" = convert ] || set -- "$@" --feature "$feature"
done
[ -z "${WHEELHOUSE:-}" ] || set -- "$@" --wheelhouse "$PWD/$WHEELHOUSE"
/build/tools/bin/hpi-agent install "$@"
mkdir -p /opt/hpi
mv "/build/store/plugins/$VARIANT"-* /opt/hpi/environment
# Of the store alone, where every file is compared with it.
rm /opt/hpi/environment/manifest.json
sh images/add-own-wheel.sh hpi-agent
