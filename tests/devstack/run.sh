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

# Runs phases of the plugin, and functions of services.sh, in one shell, in the
# order and with the sourcing of stack.sh; or one phase of unstack.sh or
# clean.sh.
#
#   run.sh 'stack install' configure_glance 'stack post-config' ...
#   run.sh unstack
#
#   STACK            directory that is / for DevStack; it has the file localrc
#   DEVSTACK_SOURCE  a checkout of DevStack, and
#   CEPH_SOURCE      one of devstack-plugin-ceph: their functions are used in
#                    place of those of functions.sh

here=$(dirname "$(readlink -f "$0")")
plugin=$here/../../devstack
export CALLS=$STACK/calls
cd "$STACK" || exit

# Neither unstack.sh nor clean.sh ends at what fails.
if [[ $1 != unstack && $1 != clean ]]; then
    set -o errexit
fi

if [[ -n ${DEVSTACK_SOURCE:-} ]]; then
    # shellcheck source=/dev/null
    source "$DEVSTACK_SOURCE/functions"
    # shellcheck source=/dev/null
    source <(sed -n '/^function is_ceph_enabled_for_service /,/^}/p' \
        "$CEPH_SOURCE/devstack/lib/cephadm")
else
    # shellcheck source-path=SCRIPTDIR source=functions.sh
    source "$here/functions.sh"
fi
# shellcheck source-path=SCRIPTDIR source=recorders.sh
source "$here/recorders.sh"
# shellcheck source=/dev/null
source "$STACK/localrc"
# clean.sh has no phase override-defaults.
if [[ $1 != clean ]]; then
    # shellcheck source-path=SCRIPTDIR source=../../devstack/override-defaults
    source "$plugin/override-defaults"
fi
# shellcheck source-path=SCRIPTDIR source=variables.sh
source "$here/variables.sh"
# shellcheck source-path=SCRIPTDIR source=services.sh
source "$here/services.sh"
# shellcheck source-path=SCRIPTDIR source=../../devstack/settings
source "$plugin/settings"

for step in "$@"; do
    case $step in
        stack\ * | unstack | clean)
            read -r mode phase <<< "$step"
            # shellcheck source=/dev/null
            source "$plugin/plugin.sh" "$mode" "$phase"
            ;;
        *)
            "$step"
            ;;
    esac
done
