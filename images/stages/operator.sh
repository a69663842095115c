#!/bin/sh
# The environment of the operator: its locked list and the project's own wheel, without pip.
. images/stages/tools.sh

python3 -m venv --symlinks --without-pip "$environment"
list=operator
install_list --python "$environment/bin/python"
install_own_wheel --python "$environment/bin/python"
compile_modules "$environment/lib"
keep_commands hpi-operator kubectl-hpi
