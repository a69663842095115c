# Read by the other scripts: what they have in common. They run in build stages alone, at the root of the context.
# $WHEELHOUSE is a folder of the context with all wheels; empty: pip asks its index.
set -eu

# pip imports packages of the environment that it looks after, and Python would write modules that are dated.
export PYTHONDONTWRITEBYTECODE=1
tools=/build/tools
wheels=/build/wheels
environment=/opt/hpi/environment
python=$(python3 -c 'import sys; print("py%d%d" % sys.version_info[:2])')
if [ -n "${WHEELHOUSE:-}" ]; then
    export PIP_NO_INDEX=1 PIP_FIND_LINKS="$PWD/$WHEELHOUSE"
fi

install_list() {
    "$tools/bin/python" -m pip "$@" install --quiet --no-deps --require-hashes --no-compile --no-warn-script-location \
        -r "configs/locks/$list-$python.txt"
}

install_own_wheel() {
    "$tools/bin/python" -m pip "$@" install --quiet --no-deps --no-index --no-compile --no-warn-script-location \
        --find-links "$wheels" hpi
}

# As `hpi-agent install` compiles packages: never compared with their sources. Packages bring templates that do not
# compile and are never imported, so the exit status says nothing.
compile_modules() {
    "$environment/bin/python" -I -B -W ignore -m compileall -qq -s "$environment" --invalidation-mode unchecked-hash "$@" || true
}

# Commands of other packages are in nobody's way, and in nobody's use either.
keep_commands() {
    for path in "$environment"/bin/*; do
        case " $* " in *" ${path##*/} "*) continue ;; esac
        case "${path##*/}" in python*) continue ;; esac
        rm "$path"
    done
}
