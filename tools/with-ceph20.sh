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


# Run a command, as root, where librados and librbd are those of Ceph 20 (and
# Python is 3.14): tools/with-ceph20.sh COMMAND...
#
# The command has as its root directory that of the lab's Ceph 20, which
# "tools/lab fetch" makes, with this tree, the lab's directory, /tmp, /proc, /dev
# and /sys where they always are. Network and processes are the machine's. Its
# virtual environment, .lab-ceph20/venv, is made once, as tools/install.sh makes
# that of the lab; so run "tools/with-ceph20.sh true" where there is a network:
# tools/own-lab.sh has none.
#
# The lab's own programs go on with the machine's clients. It is the tests that
# get the others: the hosts and the glance-apis that they start, and the
# operator's view of a cluster.

set -o errexit -o nounset -o pipefail

cd "$(dirname "$(readlink -f "$0")")/.."
readonly tree=$PWD
readonly base=$tree/.lab-ceph20
readonly root=$base/root
readonly venv=$base/venv
readonly log=$base/install.log
readonly stamp=$venv/installed
readonly inputs=(
    lab/ceph_root.py lab/constraints.txt lab/requirements.txt requirements.txt
    test-requirements.txt setup.cfg setup.py nova_rbd_multistore.pth
    tools/link-debian-modules
)

function die {
    echo "with-ceph20: $*" >&2
    exit 1
}

# The packages are unpacked, not installed: none has written to /etc.
function follow_the_machine {
    local file

    for file in group hosts nsswitch.conf passwd resolv.conf \
            ssl/certs/ca-certificates.crt; do
        if [[ -e /etc/$file ]]; then
            mkdir --parents "$(dirname "$root/etc/$file")"
            cp --dereference "/etc/$file" "$root/etc/$file"
        fi
    done
}

# In a mount namespace of its own.
function enter {
    local lab=${NOVA_RBD_LAB_DIR:-$tree/.lab} directory

    mount --bind "$root" "$root"
    for directory in "$tree" "$lab" /tmp; do
        if [[ -d $directory ]]; then
            mkdir --parents "$root$directory"
            mount --bind "$directory" "$root$directory"
        fi
    done
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    exec chroot "$root" env --chdir="$tree" \
        PATH="$venv/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        HOME=/root \
        LANG=C.UTF-8 \
        NOVA_RBD_VENV="$venv" \
        "$@"
}

function install {
    echo "with-ceph20: virtual environment $venv, about two minutes" >&2
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" &&
            PBR_VERSION=0.1.0 PIP_CONSTRAINT=lab/constraints.txt \
                "$venv/bin/pip" \
                --disable-pip-version-check install --progress-bar off \
                --requirement lab/requirements.txt \
                --requirement test-requirements.txt --editable . &&
            "$venv/bin/python" tools/link-debian-modules
    } > "$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "all that was said is in $log"
    fi
    fingerprint > "$stamp"
}

function fingerprint {
    { pwd; cat "${inputs[@]}"; } | sha256sum
}

function main {
    local again=(unshare --mount --propagation=private "$0")

    [[ $EUID -eq 0 ]] || die 'must run as root'
    case ${1:-} in
        '')
            die 'which command?'
            ;;
        --enter)
            shift
            enter "$@"
            ;;
        --install)
            install
            return
            ;;
    esac
    [[ -e $base/made ]] || die 'tools/lab fetch first'
    follow_the_machine
    if [[ $(fingerprint) != "$(cat "$stamp" 2> /dev/null)" ]]; then
        "${again[@]}" --enter "$0" --install
    fi
    exec "${again[@]}" --enter "$@"
}

main "$@"
