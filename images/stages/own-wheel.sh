#!/bin/sh
# First step of every image: the project's own wheel, made with the locked tools.
. images/stages/tools.sh

python3 -m venv "$tools"
list=tools
install_list
"$tools/bin/python" -m hatchling build --target wheel --directory "$wheels"
