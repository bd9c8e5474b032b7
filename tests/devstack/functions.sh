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

# DevStack's functions that the plugin calls, as its published source has them
# behave: inc/ini-config, inc/async, inc/python, functions, functions-common.
# What would change the machine is written to the file $CALLS instead.

function _record {
    echo "$*" >> "$CALLS"
}

# inc/ini-config. A value goes through sed, as there, to which "&" is special.

function ini_has_option {
    sed -n "/^\[$2\]/,/^\[.*\]/ p" "$1" | grep -q "^$3[ \t]*="
}

function iniget {
    sed -n "/^\[$2\]/,/^\[.*\]/ s/^$3[ \t]*=[ \t]*//p" "$1"
}

function inidelete {
    [[ $1 != -sudo ]] || shift
    [[ -n $2 && -n $3 ]] || return 0
    sed -i "/^\[$2\]/,/^\[.*\]/ { /^$3[ \t]*=/ d }" "$1"
}

function iniset {
    [[ $1 != -sudo ]] || shift
    local file=$1 section=$2 option=$3 value=$4 end
    end=$'\x01'
    [[ -n $section && -n $option ]] || return 0
    if ! grep -qs "^\[$section\]" "$file"; then
        printf '\n[%s]\n' "$section" >> "$file"
    fi
    if ini_has_option "$file" "$section" "$option"; then
        sed -i "/^\[$section\]/,/^\[.*\]/ \
            s${end}^\(${option}[ \t]*=[ \t]*\).*${end}\1${value}${end}" "$file"
    else
        sed -i "/^\[$section\]/ a $option = $value" "$file"
    fi
}

# functions-common

function die {
    echo "die: ${*:2}" >&2
    exit 1
}

function echo_summary {
    echo "summary: $*"
}

# Sets nothing: prints True or False for the variable, or the default.
function trueorfalse {
    case "${!2:-$1}" in
        1 | y | yes | Y | YES | Yes | true | True | TRUE) echo True ;;
        *) echo False ;;
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

# inc/python

function setup_develop {
    _record setup_develop "$@"
}

# inc/async

function async_wait {
    _record async_wait "$@"
}

# functions. Ready is what answers, unless it says 503.
function wait_for_service {
    local deadline code
    deadline=$((SECONDS + $1))
    while true; do
        code=$(curl -s -o /dev/null -w '%{http_code}' "$2") || true
        [[ $code == 000 || $code == 503 ]] || return 0
        if ((SECONDS >= deadline)); then
            return 1
        fi
        command sleep 0.1
    done
}

# devstack-plugin-ceph, devstack/lib/cephadm
function is_ceph_enabled_for_service {
    local variable=ENABLE_CEPH_${1^^}
    is_service_enabled "$1" && [[ ${!variable} == True ]]
}

# Programs.

# Each line of the file is one answer to "image list"; the last stays.
function openstack {
    _record openstack "$@"
    head -n 1 "$STACK/image-states" | tr ',' '\n'
    if (($(wc -l < "$STACK/image-states") > 1)); then
        sed -i 1d "$STACK/image-states"
    fi
}

function sleep {
    _record sleep "$@"
}
