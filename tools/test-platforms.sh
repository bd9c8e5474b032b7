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

# tools/test-platforms.sh PLATFORM
# The stages of tools/test-all.sh on other platforms than the machine's, alone:
# debian13 (with Ceph 18 and Python 3.13), ceph20. The result of each goes to
# tests/platforms/PLATFORM.json, with the commit that it is about;
# doc/source/platforms.csv is made of it.

# shellcheck source=tools/stages.sh
source "$(dirname "$(readlink -f "$0")")/stages.sh"

if (($# != 1)) || ! declare -F "${1}_stages" > /dev/null; then
    echo "$0: which platform? debian13 or ceph20" >&2
    exit 1
fi
if [[ -n $(git status --porcelain) ]]; then
    echo "$0: the result is about a commit, so commit this first:" >&2
    git status --short >&2
    exit 1
fi

mkdir --parents tests/platforms
record=(--json "tests/platforms/$1.json")
install_stage && "${1}_stages"
conclude "${record[@]}"
