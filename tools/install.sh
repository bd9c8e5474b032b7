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

# Install what the lab, the demo and the tests need on a machine with Debian 12
# or 13: the packages of bindep.txt, and one virtual environment with
# OpenStack's services at the versions of lab/constraints.txt and with this
# tree, editable.
# Says nothing and takes a second when all of it is there.
#
#   tools/install.sh [--with cinder | --with nfs]
#
# With cinder also Cinder, into an environment of its own, for "tools/lab up
# --with cinder". With nfs also the packages for tests/functional/test_nfs.py.
#
#   NOVA_RBD_VENV         the virtual environment; .venv in this tree if not set
#   NOVA_RBD_CINDER_VENV  that of Cinder; .venv-cinder if not set

set -euo pipefail

# A virtual environment without bytecode makes each start of a service slow.
unset PYTHONDONTWRITEBYTECODE

cd "$(dirname "$(readlink -f "$0")")/.."
readonly venv=${NOVA_RBD_VENV:-$PWD/.venv}
readonly cinder_venv=${NOVA_RBD_CINDER_VENV:-$PWD/.venv-cinder}
readonly log=$venv/install.log
readonly stamp=$venv/installed
readonly policy=/usr/sbin/policy-rc.d
readonly inputs=(
    lab/constraints.txt lab/requirements.txt requirements.txt
    pyproject.toml setup.cfg setup.py nova_rbd_multistore.pth
    tools/install.sh tools/link-debian-modules
)

function say {
    echo "install: $*" >&2
}

function die {
    say "$*"
    exit 1
}

function apt {
    DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet \
        --option=DPkg::Lock::Timeout=300 "$@"
}

# The lab runs its own daemons. Debian's packages would start the machine's
# (MariaDB, RabbitMQ, libvirt), on ports and directories of their own choice.
function forbid_daemons {
    if [[ ! -e $policy ]]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod +x "$policy"
    fi
}

function install_debian_packages {
    say "Debian packages: $*"
    apt update
    forbid_daemons
    # dpkg's lines are of use only if it fails; apt says what did on stderr.
    apt install --yes --no-install-recommends "$@" > /dev/null
}

function pip_install {
    if ! PIP_CONSTRAINT=lab/constraints.txt "$venv/bin/python" -m pip \
            --disable-pip-version-check install --progress-bar off \
            "$@" > "$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "pip failed; all that it said is in $log"
    fi
}

function fingerprint {
    { pwd; /usr/bin/python3 --version; cat "${inputs[@]}"; } | sha256sum
}

function install_cinder {
    local wanted found

    wanted=$(sha256sum < lab/cinder-constraints.txt)
    found=$(cat "$cinder_venv/installed" 2> /dev/null) || true
    if [[ $found != "$wanted" ]]; then
        say "virtual environment $cinder_venv: about two minutes"
        /usr/bin/python3 -m venv "$cinder_venv"
        if ! "$cinder_venv/bin/python" -m pip --disable-pip-version-check \
                install --progress-bar off \
                --requirement lab/cinder-constraints.txt > "$log" 2>&1; then
            tail -n 20 "$log" >&2
            die "pip failed; all that it said is in $log"
        fi
        "$cinder_venv/bin/python" tools/link-debian-modules
        echo "$wanted" > "$cinder_venv/installed"
    fi
}

function main {
    local missing cinder='' profiles=(compute lab test)

    case $* in
        '') ;;
        '--with cinder' | --with=cinder) cinder=yes ;;
        '--with nfs' | --with=nfs) profiles+=(nfs) ;;
        *) die "no such option: $*" ;;
    esac
    [[ $EUID -eq 0 ]] || die 'must run as root: apt-get and the lab need it'
    command -v apt-get > /dev/null ||
        die 'must run on Debian 12 or 13: no apt-get'

    if ! /usr/bin/python3 -c 'import ensurepip' 2> /dev/null; then
        install_debian_packages python3-venv
    fi
    if [[ ! -x $venv/bin/bindep ]]; then
        say "virtual environment $venv"
        /usr/bin/python3 -m venv "$venv"
        pip_install bindep
    fi
    # It exits non-zero when a package is missing, which it then names.
    missing=$("$venv/bin/bindep" --brief "${profiles[@]}") ||
        [[ -n $missing ]] || die 'bindep could not read bindep.txt'
    if [[ -n $missing ]]; then
        # shellcheck disable=SC2086  # one package a line
        install_debian_packages $missing
    elif ! apt-cache show linux-image-cloud-amd64 &> /dev/null; then
        # The lab downloads that package for its guest.
        apt update
    fi
    if [[ $(fingerprint) != "$(cat "$stamp" 2> /dev/null)" ]]; then
        say 'PyPI packages: about two minutes'
        pip_install --requirement lab/requirements.txt --editable .
        "$venv/bin/python" tools/link-debian-modules
        fingerprint > "$stamp"
    fi
    if [[ -n $cinder ]]; then
        install_cinder
    fi
}

main "$@"
