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

# Measure boot disks with stock Nova, with this driver and with bare librbd, in
# turn on one lab, as root; some 35 minutes on two idle cores. Prints a
# table, and keeps the figures for the documentation (benchmarks/results,
# doc/source/performance.csv and *.svg). Options go to "python -m benchmarks",
# and then nothing is kept without --keep; try --help.

set -o errexit -o nounset -o pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
export NOVA_RBD_VENV=${NOVA_RBD_VENV:-$PWD/.venv}

function lab_is_up {
    tools/lab status --format value --column PID 2> /dev/null |
        grep --quiet '[0-9]'
}

if [[ $* == *--help* ]]; then
    exec "$NOVA_RBD_VENV/bin/python" -m benchmarks --help
fi
tools/install.sh
if ! lab_is_up; then
    trap 'tools/lab down' EXIT
fi
tools/lab up --driver multistore --threading native
"$NOVA_RBD_VENV/bin/tox" -e bench -- "${@:---keep}"
if [[ $# -eq 0 ]]; then
    "$NOVA_RBD_VENV/bin/tox" -e fleet
fi
