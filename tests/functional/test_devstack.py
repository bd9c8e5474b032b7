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

"""What the DevStack plugin configures, in real services.

The plugin runs with a cephadm that is the lab's clusters, and with users of
Ceph of its own. The lab's database and Keystone are Glance's.
"""

import pathlib
import shutil
import subprocess
import sys
import uuid

import pytest

from tests.devstack import stack
from tests.rig import apis
from tests.rig import clusters
from tests.rig import image_files
from tests.rig import polling

ROOT = pathlib.Path(__file__).parents[2]

GLANCE = 'devstack-glance'
NOVA = 'devstack-nova'

#: "cephadm --image I shell --fsid F --config C --keyring K -- PROGRAM ..."
#: without the container.
CEPHADM = (
    '#!/bin/bash\n'
    'exec "${11}" --conf "$7" --keyring "$9" --id admin "${@:12}"\n'
)


@pytest.fixture
def users(east, west):
    """The users of Ceph, each with all rights, as create_keys makes them."""
    made = [
        (cluster, user)
        for cluster in (west, east)
        for user in (GLANCE, NOVA, 'cinder2', 'openstack')
    ]
    keys = {
        (cluster, user): cluster.make_user(user, 'allow *')
        for cluster, user in made
    }
    yield keys
    for cluster, user in made:
        cluster.remove_user(user)


def write_cluster(etc, site, keyrings):
    """A cluster's files as devstack-plugin-ceph leaves them in /etc.

    :param keyrings: where librados looks for keys of its own accord
    """
    etc.mkdir(parents=True, exist_ok=True)
    text = site.ceph_conf.read_text()
    at_home = f'keyring = {site.directory}/$name.keyring'
    assert at_home in text
    (etc / 'ceph.conf').write_text(
        text.replace(at_home, f'keyring = {keyrings}/ceph.$name.keyring')
    )
    shutil.copy(
        site.keyring('client.admin'), etc / 'ceph.client.admin.keyring'
    )


@pytest.fixture
def make_stack(where, tmp_path, users, east, west):
    """Runs stack.sh with two clusters, where Nova's is that of site west."""

    def make(**localrc):
        paste = where.venv / 'etc/glance/glance-api-paste.ini'
        made = stack.Stack(
            tmp_path / 'devstack',
            paste.read_text(),
            {
                'MULTI_CEPH': 'True',
                'GLANCE_CEPH_USER': GLANCE,
                'CINDER_CEPH_USER': NOVA,
                **localrc,
            },
        )
        (made.programs / 'cephadm').write_text(CEPHADM)
        site_east, site_west = where.sites
        # The trap of two clusters on one node: librados looks into /etc/ceph.
        write_cluster(made.etc / 'ceph', site_west, made.etc / 'ceph')
        write_cluster(made.etc / 'ceph2', site_east, made.etc / 'ceph')
        for (cluster, user), key in users.items():
            etc = made.etc / ('ceph' if cluster is west else 'ceph2')
            (etc / f'ceph.client.{user}.keyring').write_text(
                f'[client.{user}]\nkey = {key}\n'
            )
        made.run((*stack.CONFIGURE, 'start_nova_compute'))
        return made

    return make


@pytest.fixture
def run_glance(where, tmp_path):
    """Runs Glance on what the plugin has configured."""
    running = []

    def run(made):
        like = tmp_path / 'like'
        shutil.copytree(where.glance_apis[0].directory, like)
        for path in (made.etc / 'glance').iterdir():
            if path.name != 'glance-api.conf':
                shutil.copy(path, like)
        conf = made.conf('glance/glance-api.conf')
        options = {'DEFAULT': dict(conf.defaults())}
        for section in conf.sections():
            own = conf.items(section)
            options[section] = {
                name: value
                for name, value in own
                if name not in conf.defaults()
            }
        del options['keystone_authtoken']['username']
        api = apis.GlanceApi(like, tmp_path / 'glance', options)
        running.append(api)
        api.start()
        return api

    yield run
    for api in running:
        api.kill()


@pytest.fixture
def import_image(demo, tmp_path):
    """Uploads a qcow2 image as DevStack's _upload_image does."""
    imported = []

    def run(api):
        path = tmp_path / 'cirros.img'
        image_files.write(path, 'qcow2', 8)
        answer = demo.session.post(
            f'{api.url}/v2/images',
            json={
                'name': f'test-{uuid.uuid4()}',
                'disk_format': 'qcow2',
                'container_format': 'bare',
            },
        )
        url = f'{api.url}/v2/images/{answer.json()["id"]}'
        imported.append(url)
        with path.open('rb') as data:
            demo.session.put(
                f'{url}/stage',
                data=data,
                headers={'Content-Type': 'application/octet-stream'},
            )
        demo.session.post(
            f'{url}/import', json={'method': {'name': 'glance-direct'}}
        )
        return polling.until(
            lambda: _imported(demo.session.get(url).json()),
            'the image is imported',
        )

    yield run
    # By the Glance that knows the stores.
    for url in imported:
        demo.session.delete(url)


def _imported(record):
    """The record if the import is over.

    An active image is not enough: its import then still removes the staged
    file and drops its lock, and a deletion just now may be refused.
    """
    over = record['status'] == 'active' and (
        'os_glance_import_task' not in record
    )
    return record if over else None


def check_parents(made, *arguments):
    """Run the check of Zuul's playbook on Nova's cluster."""
    return subprocess.run(
        [
            *(sys.executable, ROOT / 'tools/check-rbd-parents'),
            *('--conf', made.etc / 'ceph/ceph.conf', '--id', NOVA),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_glance_has_the_stores_and_a_health_check(
    make_stack, run_glance, demo
):
    made = make_stack()
    api = run_glance(made)

    answer = demo.session.get(f'{api.url}/v2/info/stores').json()
    stores = {store['id']: store for store in answer['stores']}
    assert stores.keys() == {'fast', 'robust_rbd', 'central_rbd'}
    assert [name for name in stores if stores[name].get('default')] == ['fast']
    assert api.health() == 200
    (made.store / '.glance').unlink()
    assert api.health() == 503


def test_user_alone_may_not_copy(make_stack, run_glance, import_image, demo):
    api = run_glance(make_stack())
    image = import_image(api)

    answer = demo.session.post(
        f'{api.url}/v2/images/{image["id"]}/import',
        json={'method': {'name': 'copy-image'}, 'stores': ['robust_rbd']},
        raise_exc=False,
    )

    assert answer.status_code == 403


@pytest.mark.long
@pytest.mark.parametrize('default', ['fast', 'central_rbd'])
def test_first_boot_copies_and_later_ones_find(
    make_stack,
    run_glance,
    import_image,
    make_host,
    demo_user,
    demo,
    west,
    default,
):
    made = make_stack(GLANCE_DEFAULT_BACKEND=default)
    api = run_glance(made)
    image = import_image(api)
    assert (image['disk_format'], image['stores']) == ('raw', default)
    nova = made.conf('nova/nova-cpu.conf')
    host = make_host(
        'west-1',
        glance__endpoint_override=api.url,
        libvirt__rbd_user=nova['libvirt']['rbd_user'],
        **{
            f'libvirt__{name}': nova['libvirt'][name]
            for name in (
                'images_rbd_ceph_conf',
                'images_rbd_glance_store_name',
            )
        },
    )

    for _ in ('copies', 'finds'):
        (boot,) = host.boot(demo_user, image['id'])
        assert boot.error is None, boot.message
        assert west.parent(boot.disk) == clusters.of_glance(image['id'])

    record = demo.session.get(f'{api.url}/v2/images/{image["id"]}').json()
    assert set(record['stores'].split(',')) == {default, 'robust_rbd'}
    assert api.requests.count(f'/v2/images/{image["id"]}/import') == 2
    servers = [disk.removesuffix('_disk') for disk in host.disks]
    check = check_parents(made, *servers)
    assert check.returncode == 0, check.stdout
    assert check.stdout.count('ok vms/') == 2


def test_check_of_parents_fails_for_a_flat_disk(make_stack, west):
    made = make_stack()
    server = str(uuid.uuid4())
    west.create('vms', f'{server}_disk', 1 << 20)
    try:
        check = check_parents(made)
    finally:
        west.remove('vms', f'{server}_disk')

    assert check.returncode == 1
    assert f'BAD vms/{server}_disk: None' in check.stdout


def test_check_of_parents_fails_if_there_is_no_disk(make_stack):
    made = make_stack()

    assert check_parents(made, '--pool', 'images').returncode == 2
    gone = check_parents(made, str(uuid.uuid4()))
    assert gone.returncode == 1
    assert 'no such disk' in gone.stdout


def test_nova_cannot_write_to_glances_pool(make_stack, west):
    made = make_stack()

    denied = subprocess.run(
        [
            *('rbd', '--conf', made.etc / 'ceph/ceph.conf', '--id', NOVA),
            *('create', '--size', '1', 'images/test-of-devstack'),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert denied.returncode
    assert 'Operation not permitted' in denied.stderr
    assert 'test-of-devstack' not in west.images('images')
