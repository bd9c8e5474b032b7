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

# Run a command on Debian 13 (Ceph 18, Python 3.13), as root, on a machine that
# has another release: tools/on-debian13.sh COMMAND...
#
# The command sees Debian 13 as its root directory, and this tree, /tmp, /proc,
# /dev and /sys where they always are. Network, processes and ports are the
# machine's. The root is made once, by debootstrap, in .lab-debian13 (beside the
# lab's directory), with a virtual environment, a lab and tox environments of
# its own. --remove removes all of it.

set -o errexit -o nounset -o pipefail

cd "$(dirname "$(readlink -f "$0")")/.."
readonly tree=$PWD
readonly lab=${NOVA_RBD_LAB_DIR:-$tree/.lab}
readonly base=$lab-debian13
readonly root=$base/root
readonly mirror=http://deb.debian.org/debian

function die {
    echo "on-debian13: $*" >&2
    exit 1
}

function make_root {
    local log=$base/debootstrap.log

    echo "on-debian13: a root of Debian 13 in $root, some minutes" >&2
    command -v debootstrap > /dev/null ||
        die 'apt-get install debootstrap first'
    rm -rf "$root"
    if ! debootstrap --variant=minbase --include=ca-certificates \
            trixie "$root" "$mirror" > "$log" 2>&1; then
        tail -n 5 "$log" >&2
        die "debootstrap failed; all that it said is in $log"
    fi
    touch "$base/made"
}

# Other names and other certificates may count by now than at its making.
function follow_the_machine {
    local file

    for file in hosts resolv.conf ssl/certs/ca-certificates.crt; do
        if [[ -e /etc/$file ]]; then
            cp --dereference "/etc/$file" "$root/etc/$file"
        fi
    done
}

# In a mount namespace of its own: make the root of Debian 13 the root of it.
# A plain chroot would not do: the lab makes mount namespaces with private
# propagation, for which / has to be a mount.
function enter {
    mount --rbind "$root" "$root"
    mkdir --parents "$root$tree" "$root$base"
    # Not what is mounted in it, which are the name spaces of other labs.
    mount --bind "$tree" "$root$tree"
    if [[ $base != "$tree"/* ]]; then
        mount --bind "$base" "$root$base"
    fi
    # What the tests count goes there.
    mount --bind /tmp "$root/tmp"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    cd "$root"
    pivot_root . .
    umount --lazy .
    cd /
}

function main {
    local namespaces=$base/ns lock

    [[ $EUID -eq 0 ]] || die 'must run as root'
    case ${1:-} in
        '')
            die 'which command?'
            ;;
        --enter)
            enter
            return
            ;;
        --remove)
            if mountpoint --quiet "$namespaces"; then
                "$0" tools/lab down || die 'its lab is up'
                umount --recursive "$namespaces"
            fi
            rm -rf --one-file-system "$base"
            return
            ;;
    esac
    mkdir --parents "$namespaces"
    exec {lock}> "$base/lock"
    flock "$lock"
    [[ -e $base/made ]] || make_root
    follow_the_machine
    # Kept by a file, so that a lab that goes on running can be found again. The
    # kernel lets no such file lie on a mount that others share.
    if ! mountpoint --quiet "$namespaces"; then
        mount -t tmpfs -o mode=700 ns "$namespaces"
        mount --make-private "$namespaces"
    fi
    if ! mountpoint --quiet "$namespaces/mnt"; then
        touch "$namespaces/mnt"
        unshare --mount="$namespaces/mnt" --propagation=private "$0" --enter
    fi
    exec {lock}>&-
    exec nsenter --mount="$namespaces/mnt" --wdns="$tree" -- env \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        LANG=C.UTF-8 \
        NOVA_RBD_LAB_DIR="$base/lab" \
        NOVA_RBD_VENV="$base/venv" \
        NOVA_RBD_CINDER_VENV="$base/venv-cinder" \
        TOX_WORK_DIR="$base/tox" \
        "$@"
}

main "$@"
