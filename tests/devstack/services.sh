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

# Configuration files as they are before phase post-config of our plugin: by
# DevStack's lib/glance and lib/nova, and devstack-plugin-ceph's lib/cephadm.
# Read off the commits that functions.sh names.

# lib/glance: configure_glance, configure_multiple_file_stores
function configure_glance {
    mkdir -p "$GLANCE_CONF_DIR"
    iniset "$GLANCE_API_CONF" DEFAULT debug True
    iniset "$GLANCE_API_CONF" DEFAULT image_cache_dir "$DATA_DIR/glance/cache/"
    iniset "$GLANCE_API_CONF" paste_deploy flavor keystone+cachemanagement
    iniset "$GLANCE_API_CONF" keystone_authtoken username glance
    if [[ $GLANCE_ENABLE_MULTIPLE_STORES == True ]]; then
        iniset "$GLANCE_API_CONF" DEFAULT enabled_backends fast:file
        iniset "$GLANCE_API_CONF" glance_store default_backend \
            "$GLANCE_DEFAULT_BACKEND"
    fi
    iniset "$GLANCE_IMAGE_IMPORT_CONF" image_import_opts \
        image_import_plugins '[]'
    cp -p "$GLANCE_DIR/etc/glance-api-paste.ini" "$GLANCE_API_PASTE_INI"
}

# lib/nova: create_nova_conf, init_nova_service_user_conf; hypervisor-libvirt
function configure_nova {
    mkdir -p "$(dirname "$NOVA_CONF")"
    rm -f "$NOVA_CONF"
    iniset "$NOVA_CONF" DEFAULT my_ip 127.0.0.1
    iniset "$NOVA_CONF" DEFAULT compute_driver libvirt.LibvirtDriver
    if [[ $NOVA_USE_SERVICE_TOKEN == True ]]; then
        iniset "$NOVA_CONF" service_user send_service_user_token True
        iniset "$NOVA_CONF" service_user username nova
    fi
}

# lib/cephadm: config_glance
function config_glance {
    iniset "$GLANCE_API_CONF" DEFAULT show_multiple_locations True
    if [[ $GLANCE_ENABLE_MULTIPLE_STORES == True ]]; then
        iniset "$GLANCE_API_CONF" DEFAULT enabled_backends \
            robust_rbd:rbd,fast:file
        iniset "$GLANCE_API_CONF" glance_store default_backend robust_rbd
        iniset "$GLANCE_API_CONF" robust_rbd rbd_store_ceph_conf \
            "$CEPH_CONF_FILE"
        iniset "$GLANCE_API_CONF" robust_rbd rbd_store_user glance
        iniset "$GLANCE_API_CONF" robust_rbd rbd_store_pool images
    fi
}

# lib/cephadm: config_nova
function config_nova {
    iniset "$NOVA_CONF" libvirt rbd_user "$CINDER_CEPH_USER"
    iniset "$NOVA_CONF" libvirt rbd_secret_uuid "$CINDER_CEPH_UUID"
    iniset "$NOVA_CONF" libvirt images_type rbd
    iniset "$NOVA_CONF" libvirt images_rbd_pool "$NOVA_CEPH_POOL"
    iniset "$NOVA_CONF" libvirt images_rbd_ceph_conf "$CEPH_CONF_FILE"
}

# lib/nova: start_nova_compute
function start_nova_compute {
    cp "$NOVA_CONF" "$NOVA_CPU_CONF"
}

function print_import_workflow {
    echo "GLANCE_USE_IMPORT_WORKFLOW=$GLANCE_USE_IMPORT_WORKFLOW"
}
