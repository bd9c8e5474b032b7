# shellcheck shell=bash
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

# DevStack runs Nova with this repository's driver, beside
# devstack-plugin-ceph. README.rst says how to use it.

for _library in options ceph glance nova; do
    # shellcheck source=/dev/null
    source "$NOVA_RBD_MULTISTORE_DIR/devstack/lib/$_library"
done
unset _library

function check_rbd_multistore {
    local service
    if ! is_plugin_enabled devstack-plugin-ceph; then
        die $LINENO "nova-rbd-multistore needs devstack-plugin-ceph: enable" \
            "that plugin first"
    fi
    # In each phase, plugins run in the order in which they were enabled. The
    # users of Ceph that we restrict are made in the other's post-config.
    case ,$DEVSTACK_PLUGINS, in
        *,nova-rbd-multistore,devstack-plugin-ceph,* | \
                *,nova-rbd-multistore,*,devstack-plugin-ceph,*)
            die $LINENO "nova-rbd-multistore must come after" \
                "devstack-plugin-ceph: swap their lines in local.conf"
            ;;
    esac
    for service in glance nova; do
        if is_service_enabled "$service" &&
                ! is_ceph_enabled_for_service "$service"; then
            die $LINENO "nova-rbd-multistore needs $service on Ceph: leave" \
                "ENABLE_CEPH_${service^^}=True"
        fi
    done
    # What a node without Glance calls the default store is of no interest.
    if is_service_enabled g-api; then
        check_multistore_default_backend
    fi
}

function install_rbd_multistore {
    setup_develop "$NOVA_RBD_MULTISTORE_DIR"
    # The interpreter for which inc/python's pip_install installs: that of
    # DEVSTACK_VENV comes first in PATH, unless GLOBAL_VENV is off. Without the
    # current directory: there may be a nova in it.
    if ! "python$PYTHON3_VERSION" -P -c 'import nova.virt.rbd_multistore'; then
        die $LINENO "Nova cannot load rbd_multistore.LibvirtDriver"
    fi
}

function configure_rbd_multistore {
    configure_ceph_for_rbd_multistore
    if is_service_enabled g-api; then
        configure_glance_for_rbd_multistore
    fi
    if is_service_enabled n-cpu; then
        configure_nova_for_rbd_multistore
    fi
}

function check_rbd_multistore_images {
    if ! wait_for_service "$SERVICE_TIMEOUT" "$GLANCE_URL/healthcheck"; then
        die $LINENO "Glance is not healthy"
    fi
    wait_for_multistore_images
}

function unconfigure_rbd_multistore {
    unconfigure_ceph_for_rbd_multistore
    unconfigure_glance_for_rbd_multistore
    unconfigure_nova_for_rbd_multistore
}

case "$1 ${2:-}" in
    'stack pre-install')
        echo_summary 'Checking what nova-rbd-multistore needs'
        check_rbd_multistore
        ;;
    'stack install')
        echo_summary 'Installing nova-rbd-multistore'
        install_rbd_multistore
        ;;
    'stack post-config')
        echo_summary 'Configuring nova-rbd-multistore'
        configure_rbd_multistore
        ;;
    'stack extra')
        if is_service_enabled g-api; then
            echo_summary 'Waiting for the images that Glance imports'
            check_rbd_multistore_images
        fi
        ;;
    'unstack ')
        unconfigure_rbd_multistore
        ;;
    'clean ')
        unconfigure_rbd_multistore
        remove_multistore_files
        ;;
esac
