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

# What a change has to pass, from nothing, on Debian 12 or 13, as root: install,
# lint, documentation, unit tests, then the lab and the functional tests on it,
# among them boots through Nova. At most 30 minutes on two cores. Ends with one
# table, and fails if any stage failed. Options go to tools/test-summary.

# shellcheck source=tools/stages.sh
source "$(dirname "$(readlink -f "$0")")/stages.sh"

install_stage && basic_stages
conclude "$@"
