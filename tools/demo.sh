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

# The demonstration, from a bare Debian 12 or 13 to the proof: install what is
# needed, bring up the cloud of two sites, boot servers there. Options go to
# "python -m lab.demo" (try --help).

set -o errexit -o nounset -o pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
venv=${NOVA_RBD_VENV:-$root/.venv}

cd "$root"
tools/install.sh
tools/lab up
exec "$venv/bin/python" -u -m lab.demo "$@"
