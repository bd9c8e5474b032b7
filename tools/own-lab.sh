#!/bin/bash
# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

# tools/own-lab.sh [--OPTION=VALUE...] COMMAND...
# Runs a command with a lab of its own, .lab-own, beside the one in .lab: in a
# network namespace with nothing but a loopback, where the ports are free. Looks
# for leaks, whatever came of the command, and destroys that lab in the end; of
# one that has failed, the lab is only stopped: its logs tell why. The options
# are those of "tools/lab up".

set -o errexit -o nounset

cd "$(dirname "$(readlink -f "$0")")/.."
if [[ ${1:-} != --inside ]]; then
    exec unshare --net -- tools/own-lab.sh --inside "$@"
fi
shift
options=()
while [[ ${1:-} == --* ]]; do
    options+=("$1")
    shift
done
export NOVA_RBD_VENV=${NOVA_RBD_VENV:-$PWD/.venv}
export NOVA_RBD_LAB_DIR=${NOVA_RBD_LAB_DIR:-$PWD/.lab}-own
export PYTEST_DEBUG_TEMPROOT=$NOVA_RBD_LAB_DIR/tests

function end {
    if [[ $? -eq 0 ]]; then
        tools/lab destroy
    else
        tools/lab down
    fi
}

ip link set lo up
tools/lab destroy
trap end EXIT
tools/lab up --driver multistore --threading native "${options[@]}"
code=0
"$@" || code=$?
tools/lab leaks || code=$((code ? code : 1))
(exit "$code")
