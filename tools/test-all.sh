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

# tools/test-all.sh [PART...]
# All that tools/test.sh runs, and what takes longer: about four hours on two
# processors, so in parts, each of which can be run alone. The result goes to
# tests/last-full-run.json, each stage with its commit, beside what earlier runs
# have written of the other stages; doc/source/platforms.csv is made of it. When
# all is run, the fault tests run beside the first three parts.
#
# basic     what tools/test.sh runs
# novas     on each release of Nova, and Nova's own tests
# longer    long functional tests, Tempest, fuzzing
# faults    the functional tests of faults
# stores    Glance's stores in Cinder and on real NFS
# nemesis   faults at random, for 15 minutes
# debian13  README's commands on Debian 13, with Ceph 18 and Python 3.13
# ceph20    on Ceph 20, and with its clients

# Parts are called by their names.
# shellcheck disable=SC2329

# shellcheck source=tools/stages.sh
source "$(dirname "$(readlink -f "$0")")/stages.sh"

# What is of Ceph alone and takes longer, beside it.
readonly platform_marks=(-m "${basic//$'\n'/} or of_ceph")
# What tells one client of Ceph from another: look, clone, errors, time-outs.
readonly client_tests=(
    tests/functional/test_arrival.py
    tests/functional/test_boot_disk.py
    tests/functional/test_ceph_faults.py
    tests/functional/test_clone_defaults.py
    tests/functional/test_lost_connections.py
)
# Moves a monitor by programs that have to be of its own release, and in the
# client's root are of another.
readonly not_by_a_newer_client=(-k 'not a_monitor_that_has_moved_is_found')

function novas_stages {
    stage nova31 15 "$venv/bin/tox" -e nova31
    stage nova32 15 "$venv/bin/tox" -e nova32
    stage nova33 15 "$venv/bin/tox" -e nova33
    stage novas-driver 15 "$venv/bin/tox" -e py3 -- tests/nova_suite
    # The functional tests that eventlet could change run in both modes anyway.
    OS_NOVA_DISABLE_EVENTLET_PATCHING=false \
        stage unit-eventlet 20 "$venv/bin/tox" -e py3
    lab_is_up || lab_stage
    # In the environment that stage nova33 has made.
    stage older 8 "$venv/bin/tox" -e functional -- -m older "${lab_tests[@]}"
}

function longer_stages {
    stage fuzz 5 "$venv/bin/tox" -e fuzz -- --seconds 60
    lab_is_up || lab_stage
    stage lives 45 "$venv/bin/tox" -e functional -- \
        -m 'long and not fault' "${lab_tests[@]}"
    stage tempest 40 tools/tempest.sh
    stage leaks-all 5 tools/lab leaks
}

# They wait more than they work.
function faults_stages {
    stage faults 120 tools/own-lab.sh "$venv/bin/pytest" \
        -m fault "${lab_tests[@]}"
}

function stores_stages {
    stage install-cinder 10 tools/install.sh --with cinder
    stage cinder 40 tools/own-lab.sh --with=cinder \
        "$venv/bin/pytest" -m cinder "${lab_tests[@]}"
    stage install-nfs 10 tools/install.sh --with nfs
    stage nfs 30 tools/own-lab.sh \
        "$venv/bin/pytest" -m nfs "${lab_tests[@]}"
}

function nemesis_stages {
    stage nemesis 45 tools/own-lab.sh tools/nemesis.sh --minutes 15
}

# README's two commands, as they are, and what takes longer.
function debian13_stages {
    # shellcheck disable=SC2034  # tools/stages.sh reads it
    local on=(tools/on-debian13.sh)
    # shellcheck disable=SC2016  # Debian 13 has an environment of its own
    local inside='"$NOVA_RBD_VENV/bin/$0" "$@"'

    if lab_is_up; then
        take_down
    fi
    stage debian13-demo 45 tools/on-debian13.sh tools/demo.sh &&
        stage debian13-down 5 tools/on-debian13.sh tools/lab destroy || return
    # Its stages are in the result too, each as debian13-NAME.
    NOVA_RBD_RESULTS=$results/debian13 \
        stage debian13 120 tools/on-debian13.sh tools/test.sh
    stage debian13-of-ceph 20 tools/on-debian13.sh tools/own-lab.sh \
        bash -c "$inside" pytest -m of_ceph "${lab_tests[@]}"
}

# on_ceph20 COMMAND...
# In a lab of its own, in the machine's network.
function on_ceph20 {
    local -x NOVA_RBD_LAB_DIR=$PWD/.lab-ceph20/lab
    local -x PYTEST_DEBUG_TEMPROOT=$NOVA_RBD_LAB_DIR/tests

    "$@"
}

function ceph20_stages {
    if lab_is_up; then
        take_down
    fi
    stage ceph20-fetch 15 tools/lab fetch &&
        stage ceph20-client-install 15 tools/with-ceph20.sh true || return
    on_ceph20 tools/lab destroy
    on_ceph20 stage ceph20-lab 20 tools/lab up --ceph=20 || return
    # With a network, for the guest's kernel is downloaded.
    on_ceph20 stage ceph20-demo 20 "$venv/bin/python" -u -m lab.demo
    on_ceph20 stage ceph20 75 "$venv/bin/pytest" \
        "${platform_marks[@]}" "${lab_tests[@]}"
    on_ceph20 stage ceph20-leaks 5 tools/lab leaks
    on_ceph20 stage ceph20-down 5 tools/lab down
    stage ceph20-keys 10 tools/own-lab.sh \
        "$venv/bin/pytest" -m ceph20 "${lab_tests[@]}"
    # A lab of either release, for a client of 20.
    stage ceph20-client 50 tools/own-lab.sh --ceph=20 \
        tools/with-ceph20.sh pytest "${client_tests[@]}"
    stage ceph20-client-of-16 50 tools/own-lab.sh \
        tools/with-ceph20.sh pytest "${not_by_a_newer_client[@]}" \
        "${client_tests[@]}"
}

# In order, but for the fault tests: beside what is first.
function all_stages {
    local beside part

    faults_stages > "$results/faults.log" 2>&1 &
    beside=$!
    trap 'pkill -TERM --parent "$beside"; exit 130' INT TERM
    for part in basic novas longer; do
        "${part}_stages"
    done
    wait "$beside"
    trap - INT TERM
    cat "$results/faults.log"
    for part in stores nemesis debian13 ceph20; do
        "${part}_stages"
    done
}

readonly parts=(basic novas longer faults stores nemesis debian13 ceph20)
for part; do
    if [[ ! " ${parts[*]} " == *" $part "* ]]; then
        echo "$0: no part $part, but ${parts[*]}" >&2
        exit 2
    fi
done
readonly result=(tests/last-full-run.json doc/source/platforms.csv)
if [[ -n $(git status --porcelain -- . "${result[@]/#/:!}") ]]; then
    echo "$0: the result is about a commit, so commit this first:" >&2
    git status --short >&2
    exit 1
fi

record=(--json "${result[0]}" --planned "install pep8 docs unit
    simulate packaging lab functional leaks fuzz faults lives nova31 nova32
    nova33 older novas-driver tempest leaks-all unit-eventlet install-cinder
    cinder install-nfs nfs nemesis debian13-demo debian13-down debian13
    debian13-of-ceph ceph20-fetch ceph20-client-install ceph20-lab ceph20-demo
    ceph20 ceph20-leaks ceph20-down ceph20-keys ceph20-client
    ceph20-client-of-16")
install_stage || conclude "${record[@]}"
if (($# == 0)); then
    all_stages
fi
for part; do
    "${part}_stages"
done
conclude "${record[@]}"
