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

# shellcheck shell=bash
# Sourced by tools/test.sh and tools/test-all.sh: run one stage after another,
# go on when one fails, and take down in the end what was brought up.

set -uo pipefail

# A pytest of another tree must not reach in by way of the environment.
unset PYTEST_ADDOPTS

cd "$(dirname "$(readlink -f "$0")")/.." || exit
readonly venv=${NOVA_RBD_VENV:-$PWD/.venv}
export NOVA_RBD_VENV=$venv
# The tests that need a lab.
readonly lab_tests=(tests/functional tests/benchmarks)
readonly basic='not fault and not long and not older and not cinder
    and not nfs and not ceph20'
readonly basic_marks=(-m "${basic//$'\n'/}")
# A run that is a stage of another leaves its results there.
results=${NOVA_RBD_RESULTS:-$(mktemp --directory)}
readonly results
mkdir --parents "$results"
# Options of tools/test-summary to keep a record with after each stage, if any.
record=()
# What the commands of stages begin with, if they run on another Debian.
on=()

# The versions of librbd and Python, for tools/platform-table.
function machine {
    # shellcheck disable=SC2016  # dpkg-query replaces it
    "${on[@]}" dpkg-query --show --showformat '${Version}\t' librbd1
    "${on[@]}" /usr/bin/python3 --version
}

# stage NAME MINUTES COMMAND...
# A stage that hangs is a stage that fails. What pytest counts in it goes to
# NAME.xml, how it went to stages.tsv: both for tools/test-summary.
function stage {
    local name=$1 minutes=$2 began=$SECONDS code=0
    shift 2
    printf '\n=== %s: %s\n' "$name" "$*"
    PYTEST_ADDOPTS="--junit-xml=$results/$name.xml" \
        timeout --kill-after=60 "${minutes}m" "$@" < /dev/null || code=$?
    printf '%s\t%s\t%s\t%s\n' "$name" "$((SECONDS - began))" "$code" \
        "$(machine 2> /dev/null)" >> "$results/stages.tsv"
    if ((${#record[@]})); then
        summarize "${record[@]}" > /dev/null
        # A unit test compares them.
        write_table
    fi
    return "$code"
}

function lab_is_up {
    tools/lab status --format value --column PID 2> /dev/null |
        grep --quiet '[0-9]'
}

function install_stage {
    stage install 15 tools/install.sh
}

# At the machine's ports.
function lab_stage {
    if ! lab_is_up; then
        trap take_down EXIT
    fi
    stage lab 10 tools/lab up --driver multistore --threading native
}

# What a change has to pass.
function basic_stages {
    stage pep8 5 "$venv/bin/tox" -e pep8
    stage docs 5 "$venv/bin/tox" -e docs,genconfig
    # Side by side. Under eventlet they are not: pytest-xdist hangs then.
    stage unit 20 "$venv/bin/tox" -e py3 -- --numprocesses auto tests/unit
    # Not by tox: this environment has all that it needs.
    stage simulate 5 "$venv/bin/python" -m tests.simulation --runs 1000
    stage packaging 20 "$venv/bin/tox" -e packaging
    lab_stage
    stage functional 45 "$venv/bin/tox" -e functional -- \
        "${basic_marks[@]}" "${lab_tests[@]}"
    stage leaks 5 tools/lab leaks
}

function take_down {
    trap - EXIT
    stage down 5 tools/lab down
}

# summarize [OPTION...]
# With the options of tools/test-summary.
function summarize {
    /usr/bin/python3 tools/test-summary "$@" "$results"
}

function write_table {
    tools/platform-table tests/last-full-run.json > doc/source/platforms.csv
}

# conclude [OPTION...]
# Ends the script.
function conclude {
    local code=0

    if [[ -n $(trap -p EXIT) ]]; then
        take_down
    fi
    summarize "$@" || code=$?
    if ((${#record[@]})); then
        write_table
    fi
    exit "$code"
}
