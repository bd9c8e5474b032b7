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

# DevStack's functions that the plugin calls, made again to behave as those of
# its published source, bugs included. Each was compared with that of DevStack
# at commit 493835a61a99 (2026-07-17) and devstack-plugin-ceph at 0e147a8d715f
# (2026-06-18): the tests of the plugin pass on either (run.sh).

# inc/ini-config

function ini_has_option {
    [[ $1 != -sudo ]] || shift
    sed -n "/^\[$2\]/,/^\[.*\]/ p" "$1" | grep -q "^$3[ \t]*="
}

function inidelete {
    [[ $1 != -sudo ]] || shift
    [[ -n $2 && -n $3 ]] || return 0
    sed -i "/^\[$2\]/,/^\[.*\]/ { /^$3[ \t]*=/ d }" "$1"
}

# The value is expanded by the shell, with patterns of file names; then "&" and
# "\" are kept from sed.
function iniset {
    [[ $1 != -sudo ]] || shift
    local file=$1 section=$2 option=$3 value end
    # shellcheck disable=SC2001,SC2086,SC2116  # As there.
    value=$(echo $4 | sed 's/[\\&]/\\&/g')
    end=$'\x01'
    [[ -n $section && -n $option ]] || return 0
    if ! grep -qs "^\[$section\]" "$file"; then
        printf '\n[%s]\n' "$section" >> "$file"
    fi
    if ini_has_option "$file" "$section" "$option"; then
        sed -i "/^\[$section\]/,/^\[.*\]/ \
            s${end}^\(${option}[ \t]*=[ \t]*\).*${end}\1${value}${end}" "$file"
    else
        sed -i "/^\[$section\]/ a\\
$option = $value
" "$file"
    fi
}

# functions-common

# Exits with the code of what failed before, if that failed.
function die {
    local code=$?
    echo "[ERROR] ${BASH_SOURCE[1]}:$1 ${*:2}" >&2
    sleep 1
    exit "$((code ? code : 1))"
}

function echo_summary {
    echo "$@"
}

# Sets nothing: prints True or False for the variable, or the default if it has
# any other value.
function trueorfalse {
    case "${!2:-}" in
        1 | [yY]es | YES | [tT]rue | TRUE) echo True ;;
        0 | [nN]o | NO | [fF]alse | FALSE) echo False ;;
        *) echo "$1" ;;
    esac
}

function is_service_enabled {
    local service
    for service in "$@"; do
        [[ ,$ENABLED_SERVICES, == *,$service,* ]] && return 0
        [[ $service == glance && ,$ENABLED_SERVICES == *,g-* ]] && return 0
        [[ $service == nova && ,$ENABLED_SERVICES == *,n-* ]] && return 0
    done
    return 1
}

function is_plugin_enabled {
    [[ ,$DEVSTACK_PLUGINS, == *,$1,* ]]
}

function define_plugin {
    :
}

function plugin_requires {
    :
}

# functions. Ready is what answers, unless it says 503; what cannot be reached
# for another reason than a refused connection is ready, too. A time-out of 0
# is none.
function wait_for_service {
    timeout "$1" bash -s -- "$2" << 'EOT'
        while true; do
            code=$(curl -g -k --noproxy '*' -s -o /dev/null \
                -w '%{http_code}' "$1")
            result=$?
            [[ $code == 503 || $result -eq 7 ]] || break
            sleep 1
        done
EOT
}

# devstack-plugin-ceph, devstack/lib/cephadm
function is_ceph_enabled_for_service {
    local variable=ENABLE_CEPH_${1^^}
    variable=${variable//-/_}
    is_service_enabled "$1" && [[ ${!variable} == True ]]
}
