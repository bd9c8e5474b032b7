#!/bin/bash
# shellcheck disable=SC2034  # The plugin reads them.
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

# Variables that DevStack and devstack-plugin-ceph have set when they source a
# plugin's settings, with their defaults, below $STACK instead of /. Read off
# the commits that functions.sh names.

# stackrc
DEST=$STACK/opt/stack
DATA_DIR=$DEST/data
SERVICE_TIMEOUT=${SERVICE_TIMEOUT:-60}
PYTHON3_VERSION=${PYTHON3_VERSION:-3}
ENABLED_SERVICES=${ENABLED_SERVICES:-key,g-api,n-api,n-cpu,n-cond,n-sch,c-vol}
DEVSTACK_PLUGINS=${DEVSTACK_PLUGINS:-devstack-plugin-ceph,nova-rbd-multistore}

# lib/glance
GLANCE_DIR=$DEST/glance
GLANCE_ENABLE_MULTIPLE_STORES=$(
    trueorfalse False GLANCE_ENABLE_MULTIPLE_STORES)
GLANCE_USE_IMPORT_WORKFLOW=$(trueorfalse False GLANCE_USE_IMPORT_WORKFLOW)
GLANCE_MULTIPLE_FILE_STORES=${GLANCE_MULTIPLE_FILE_STORES:-fast}
GLANCE_DEFAULT_BACKEND=${GLANCE_DEFAULT_BACKEND:-fast}
GLANCE_MULTISTORE_FILE_IMAGE_DIR=$DATA_DIR/glance
GLANCE_CONF_DIR=$STACK/etc/glance
GLANCE_API_CONF=$GLANCE_CONF_DIR/glance-api.conf
GLANCE_API_PASTE_INI=$GLANCE_CONF_DIR/glance-api-paste.ini
GLANCE_IMAGE_IMPORT_CONF=$GLANCE_CONF_DIR/glance-image-import.conf
GLANCE_URL=${GLANCE_URL:-http://127.0.0.1/image}

# lib/nova
NOVA_CONF=$STACK/etc/nova/nova.conf
NOVA_CPU_CONF=$STACK/etc/nova/nova-cpu.conf
NOVA_USE_SERVICE_TOKEN=$(trueorfalse True NOVA_USE_SERVICE_TOKEN)

# devstack-plugin-ceph: devstack/override-defaults, a phase that clean.sh has
# not.
if [[ $1 != clean ]]; then
    ENABLE_CEPH_GLANCE=$(trueorfalse True ENABLE_CEPH_GLANCE)
    ENABLE_CEPH_NOVA=$(trueorfalse True ENABLE_CEPH_NOVA)
    REMOTE_CEPH=$(trueorfalse False REMOTE_CEPH)
fi

# devstack-plugin-ceph: devstack/lib/cephadm
MULTI_CEPH=${MULTI_CEPH:-False}
SUDO='env'
CEPHADM=cephadm
CONTAINER_IMAGE=quay.io/ceph/ceph:v20
CEPH_CONF_DIR=$STACK/etc/ceph
CEPH_CONF_FILE=$CEPH_CONF_DIR/ceph.conf
CEPH_CONFIG=$CEPH_CONF_FILE
CEPH_KEYRING=$CEPH_CONF_DIR/ceph.client.admin.keyring
FSID=${FSID:-11111111-1111-1111-1111-111111111111}
CEPH2_CONF_DIR=$STACK/etc/ceph2
CEPH2_CONF_FILE=$CEPH2_CONF_DIR/ceph.conf
CEPH2_CONFIG=$CEPH2_CONF_FILE
CEPH2_KEYRING=$CEPH2_CONF_DIR/ceph.client.admin.keyring
CEPH2_FSID=${CEPH2_FSID:-22222222-2222-2222-2222-222222222222}
DEFAULT_PG_NUM=8
GLANCE_CEPH_USER=${GLANCE_CEPH_USER:-glance}
GLANCE_CEPH_POOL=images
CINDER_CEPH_USER=${CINDER_CEPH_USER:-cinder}
CINDER_CEPH_POOL=volumes
CINDER_CEPH2_USER=${CINDER_CEPH2_USER:-cinder2}
CINDER_CEPH_UUID=33333333-3333-3333-3333-333333333333
CINDER_BAK_CEPH_USER=${CINDER_BAK_CEPH_USER:-cinder-bak}
CINDER_BAK_CEPH_POOL=${CINDER_BAK_CEPH_POOL:-backups}
NOVA_CEPH_POOL=vms
MANILA_CEPH_USER=manila
# As configure_ceph leaves them, which adds to them service by service.
POOLS=("$GLANCE_CEPH_POOL" "$CINDER_CEPH_POOL" "$NOVA_CEPH_POOL")
KEYS=(client.openstack "client.$GLANCE_CEPH_USER" "client.$CINDER_CEPH_USER")
if [[ $MULTI_CEPH == True ]]; then
    KEYS+=("client.$CINDER_CEPH2_USER")
fi
KEYS+=("client.$CINDER_CEPH_USER")
if is_service_enabled c-bak; then
    POOLS+=("$CINDER_BAK_CEPH_POOL")
    KEYS+=("client.$CINDER_BAK_CEPH_USER")
fi
if is_service_enabled m-shr; then
    KEYS+=("client.$MANILA_CEPH_USER")
fi
