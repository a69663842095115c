#!/bin/sh
# Prints the path of a Python that the lists of this folder fit; on failure says what was tried and what is needed.
#
# Each candidate is run, not only looked up: version managers put commands on PATH that exist and do not work.
# PYTHON=/path/to/python makes that one the only candidate. Otherwise the environment made before stays in use, and
# a new one takes 3.11 first, because most of the testing happens there.

here=$(cd "$(dirname "$0")" && pwd)
candidates=${PYTHON:-"$here/../../.venv/bin/python python3.11 python3.12 python3.13 python3 python"}

probe='
import platform, sys, sysconfig
found = "%s %s" % (platform.python_implementation(), platform.python_version())
if platform.python_implementation() != "CPython" or not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit("is " + found)
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit("is %s without the GIL, for which some packages have no wheels" % found)
try:
    import ctypes, ensurepip, ssl, venv
except ImportError as error:
    sys.exit("is %s, but lacks a part: %s" % (found, error))
import os
print(os.path.realpath(sys.executable))
'

tried=
for candidate in $candidates; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    if answer=$("$candidate" -c "$probe" 2>&1); then
        echo "$answer"
        exit 0
    fi
    tried="$tried
  $candidate: $(echo "$answer" | head -n 1)"
done

cat >&2 <<END
set-up: found no usable Python. Needed: CPython 3.11, 3.12 or 3.13 with its modules venv, ensurepip and ssl.
Tried:${tried:-" nothing: none of these is on PATH: $candidates"}
Install one (Debian, Ubuntu: apt install python3 python3-venv; elsewhere: pyenv install 3.11, or uv python install 3.11),
or name one: make ... PYTHON=/path/to/python3.11
END
exit 1
