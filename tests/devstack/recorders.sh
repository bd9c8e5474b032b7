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

# What would change the machine, or needs services, is written to the file
# $CALLS instead. Names and arguments are those of the commits that functions.sh
# names.

function _record {
    echo "$*" >> "$CALLS"
}

# inc/python
function setup_develop {
    _record setup_develop "$@"
}

# inc/async
function async_wait {
    _record async_wait "$@"
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

function sudo {
    "$@"
}
