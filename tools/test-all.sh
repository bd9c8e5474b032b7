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

# All that tools/test.sh runs, and what takes longer. The result goes to
# tests/last-full-run.json, with the commit that it is about and, until the end,
# the stages that are left; doc/source/platforms.csv is made of it. Two labs run
# side by side.

# shellcheck source=tools/stages.sh
source "$(dirname "$(readlink -f "$0")")/stages.sh"

if [[ -n $(git status --porcelain) ]]; then
    echo "$0: the result is about a commit, so commit this first:" >&2
    git status --short >&2
    exit 1
fi

record=(--json tests/last-full-run.json --planned "install pep8 docs unit
    simulate packaging lab functional leaks fuzz faults lives nova31 nova32
    nova33 older novas-driver tempest leaks-all unit-eventlet install-cinder
    cinder install-nfs nfs nemesis debian13-demo debian13-down debian13
    debian13-of-ceph ceph20-fetch ceph20-client-install ceph20-demo ceph20
    ceph20-leaks ceph20-down ceph20-keys ceph20-client ceph20-client-of-16")
install_stage || conclude "${record[@]}"

# The fault tests wait more than they work: beside all else.
stage faults 120 tools/own-lab.sh "$venv/bin/pytest" \
    -m fault "${lab_tests[@]}" > "$results/faults.log" 2>&1 &
readonly beside=$!
trap 'pkill -TERM --parent "$beside"; exit 130' INT TERM

basic_stages
stage fuzz 5 "$venv/bin/tox" -e fuzz -- --seconds 60
stage lives 45 "$venv/bin/tox" -e functional -- \
    -m 'long and not fault' "${lab_tests[@]}"
stage nova31 15 "$venv/bin/tox" -e nova31
stage nova32 15 "$venv/bin/tox" -e nova32
stage nova33 15 "$venv/bin/tox" -e nova33
stage novas-driver 15 "$venv/bin/tox" -e py3 -- tests/nova_suite
stage tempest 40 tools/tempest.sh
# In the environment that stage nova33 has made.
stage older 8 "$venv/bin/tox" -e functional -- -m older "${lab_tests[@]}"
stage leaks-all 5 tools/lab leaks
# The functional tests that eventlet could change run in both modes anyway.
OS_NOVA_DISABLE_EVENTLET_PATCHING=false \
    stage unit-eventlet 10 "$venv/bin/tox" -e py3

wait "$beside"
cat "$results/faults.log"
# A lab of its own, when the other two need no more memory.
stage install-cinder 10 tools/install.sh --with cinder
stage cinder 40 tools/own-lab.sh --with=cinder \
    "$venv/bin/pytest" -m cinder "${lab_tests[@]}"
stage install-nfs 10 tools/install.sh --with nfs
stage nfs 30 tools/own-lab.sh \
    "$venv/bin/pytest" -m nfs "${lab_tests[@]}"
stage nemesis 45 tools/own-lab.sh tools/nemesis.sh --minutes 15
platform_stages
conclude "${record[@]}"
