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

"""A user points their image at the disk of another tenant.

With ``show_multiple_locations = True``, which Nova's own driver needs, the
owner of an image can set its location. The user demo has a server; the user
other makes an image of a location that is a snapshot of that server's disk.
"""

import os
import uuid

import pytest

from tests.rig import hosts

#: A download is as bad as a clone: it reads the same bytes.
DOWNLOAD = {'workarounds__never_download_image_if_on_rbd': False}


@pytest.fixture
def victim(east, west):
    """A disk of another tenant's, in both clusters, for each to be chosen."""
    disk = f'{uuid.uuid4()}_disk'
    for cluster in (east, west):
        cluster.create_disk(disk, os.urandom(8 << 20), 'backup')
    yield disk
    for cluster in (east, west):
        cluster.remove('vms', disk)


@pytest.fixture
def open_glance(make_glance, where, east, west, tmp_path):
    """A Glance that shows locations, and whose cephx user can read disks.

    As where images are made of servers' disks by their locations. With the
    lab's own capabilities Glance refuses a location in Nova's pool itself.
    """
    options = {'DEFAULT': {'show_multiple_locations': 'true'}}
    for site, cluster in zip(where.sites, (east, west), strict=True):
        key = cluster.make_user(
            'glance-open',
            'profile rbd pool=images, profile rbd-read-only pool=vms',
        )
        keyring = tmp_path / f'{site.name}.keyring'
        keyring.write_text(f'[client.glance-open]\nkey = {key}\n')
        conf = tmp_path / f'{site.name}.conf'
        conf.write_text(
            f'{site.ceph_conf.read_text()}\n'
            f'[client.glance-open]\nkeyring = {keyring}\n'
        )
        options[site.store] = {
            'rbd_store_ceph_conf': str(conf),
            'rbd_store_user': 'glance-open',
        }
    yield make_glance(**options)
    for cluster in (east, west):
        cluster.remove_user('glance-open')


@pytest.fixture
def poison(open_glance, admin, other, east, west):
    """Makes an image of user other, with a location of their choice."""
    made = []

    def make(url, store, **fields):
        base = f'{open_glance.url}/v2/images'
        answer = other.session.post(
            base,
            json={
                'name': 'poisoned',
                'disk_format': 'raw',
                'container_format': 'bare',
                **fields,
            },
        )
        answer.raise_for_status()
        image_id = answer.json()['id']
        made.append(image_id)
        patch = {
            'op': 'add',
            'path': '/locations/-',
            'value': {'url': url, 'metadata': {'store': store}},
        }
        other.session.patch(
            f'{base}/{image_id}',
            json=[patch],
            headers={
                'Content-Type': (
                    'application/openstack-images-v2.1-json-patch'
                )
            },
        ).raise_for_status()
        return image_id

    yield make
    for image_id in made:
        for cluster in (east, west):
            for disk in cluster.clones(image_id):
                cluster.remove('vms', disk)
        # Glance may fail to remove what the location points at: so it should.
        admin.image.delete(f'/images/{image_id}')
        for cluster in (east, west):
            cluster.remove('images', image_id)


def test_stock_nova_clones_another_tenant_s_disk(
    victim, poison, make_host, other, user_of, west, open_glance
):
    image_id = poison(f'rbd://{west.fsid}/vms/{victim}/backup', 'west')
    host = make_host(
        'west-1',
        driver=hosts.STOCK,
        glance__endpoint_override=open_glance.url,
    )

    (boot,) = host.boot(user_of(other), image_id, root_gib=0)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk).image == victim
    stolen = west.digest('vms', boot.disk)
    assert stolen == west.digest('vms', victim, 'backup')
    # The clone keeps the victim's snapshot from being removed.
    west.remove('vms', boot.disk)


@pytest.mark.parametrize('downloading', [{}, DOWNLOAD], ids=['', 'download'])
def test_an_image_of_another_tenant_s_disk_is_refused_altogether(
    victim,
    poison,
    make_host,
    other,
    user_of,
    west,
    copy_tasks,
    open_glance,
    downloading,
):
    image_id = poison(f'rbd://{west.fsid}/vms/{victim}/backup', 'west')
    host = make_host(
        'west-1',
        glance__endpoint_override=open_glance.url,
        **downloading,
    )

    (boot,) = host.boot(user_of(other), image_id)

    assert boot.error == 'LocationRefused'
    assert boot.disk not in west.images('vms')
    assert copy_tasks(image_id) == []
    assert f'Refusing image {image_id} of project' in host.log


@pytest.mark.fault
def test_no_format_gets_such_an_image_downloaded(
    victim, poison, make_host, other, user_of, west, open_glance
):
    url = f'rbd://{west.fsid}/vms/{victim}/backup'
    images = [
        poison(url, 'west', **fields)
        for fields in (
            {'disk_format': 'ami', 'container_format': 'ami'},
            {'disk_format': 'qcow2'},
            {'container_format': 'compressed'},
        )
    ]
    host = make_host(
        'west-1', glance__endpoint_override=open_glance.url, **DOWNLOAD
    )

    boots = host.boot(user_of(other), *images)

    assert [boot.error for boot in boots] == ['LocationRefused'] * 3
    assert not {boot.disk for boot in boots} & set(west.images('vms'))


@pytest.mark.fault
def test_nor_does_a_glance_that_hides_its_locations(
    upload, make_glance, make_host, demo_user, west
):
    image = upload(disk_format='qcow2')
    glance = make_glance()
    glance.drop_policies('fetch_image_location')
    host = make_host(
        'west-1', glance__endpoint_override=glance.url, **DOWNLOAD
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'LocationsForbidden'
    assert boot.disk not in west.images('vms')


def test_an_administrator_s_boot_of_it_is_refused_too(
    victim, poison, make_host, admin, user_of, west, copy_tasks, open_glance
):
    """As in an evacuation: Glance lets an administrator see every image."""
    image_id = poison(f'rbd://{west.fsid}/vms/{victim}/backup', 'west')
    host = make_host('west-1', glance__endpoint_override=open_glance.url)

    (boot,) = host.boot(user_of(admin), image_id)

    assert boot.error == 'LocationRefused'
    assert boot.disk not in west.images('vms')
    assert copy_tasks(image_id) == []


def test_a_location_in_another_cluster_is_not_laundered_by_a_copy(
    victim, poison, make_host, other, user_of, east, copy_tasks
):
    image_id = poison(f'rbd://{east.fsid}/vms/{victim}/backup', 'east')

    (boot,) = make_host('west-1').boot(user_of(other), image_id)

    assert boot.error == 'LocationRefused'
    assert copy_tasks(image_id) == []


def test_a_foreign_image_in_glance_s_own_pool_is_refused(
    upload, poison, make_host, other, user_of, west
):
    private = upload(store='west', visibility='private')
    url = f'rbd://{west.fsid}/images/{private.id}/snap'

    (boot,) = make_host('west-1').boot(user_of(other), poison(url, 'west'))

    assert boot.error == 'LocationRefused'


@pytest.fixture
def volume(east, west):
    """A volume of another tenant's, which has a bare id for its name."""
    name = str(uuid.uuid4())
    for cluster in (east, west):
        cluster.create_disk(name, os.urandom(8 << 20), 'snap')
    yield name
    for cluster in (east, west):
        cluster.remove('vms', name)


@pytest.mark.fault
@pytest.mark.parametrize('site', ['east', 'west'])
def test_an_image_with_the_id_of_another_tenant_s_volume_is_refused(
    volume, poison, make_host, other, user_of, east, west, copy_tasks, site
):
    """Whoever makes an image may choose its id."""
    cluster = {'east': east, 'west': west}[site]
    image_id = poison(
        f'rbd://{cluster.fsid}/vms/{volume}/snap', site, id=volume
    )
    host = make_host('west-1')

    (boot,) = host.boot(user_of(other), image_id)

    assert boot.error == 'LocationRefused'
    assert boot.disk not in west.images('vms')
    assert copy_tasks(image_id) == []
    assert f'Refusing image {image_id} of project' in host.log


def test_a_pool_in_which_nothing_is_private_may_be_trusted(
    victim, poison, make_host, other, user_of, west
):
    image_id = poison(f'rbd://{west.fsid}/vms/{victim}/backup', 'west')
    host = make_host(
        'west-1', rbd_multistore__trusted_clone_pools=[f'{west.fsid}/vms']
    )

    (boot,) = host.boot(user_of(other), image_id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk).image == victim
    west.remove('vms', boot.disk)
