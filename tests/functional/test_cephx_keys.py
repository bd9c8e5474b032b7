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

"""Which clients reach a cluster that Ceph 20 has made, and by which keys.

The cluster is born as every new one is, and then told what the page on
supported releases says. The older client is the machine's, the newer one that
of tools/with-ceph20.sh; QEMU has one too.
"""

import base64
import dataclasses
import functools
import json
import pathlib
import re
import shlex
import subprocess
import uuid

import pytest

from lab import credentials
from lab import layout
from nova_rbd_multistore import ceph
from nova_rbd_multistore import exceptions
from tests.rig import clusters
from tests.rig import guest_disk
from tests.rig import pages
from tests.rig import polling
from tests.rig import small_cluster

pytestmark = pytest.mark.ceph20

WITH_CEPH20 = str(pathlib.Path(__file__).parents[2] / 'tools/with-ceph20.sh')
SECONDS = 20

ASK = """
import sys
from nova_rbd_multistore import ceph
cluster = ceph.Cluster(sys.argv[1], sys.argv[2], int(sys.argv[3]), {})
print(cluster.has_image('vms', 'disk'))
cluster.close()
"""
CAPS = ('mon', 'profile rbd', 'osd', 'profile rbd pool=vms')


#: Captions of what the page has for one of two kinds of users.
NEW, HAS_A_KEY = '... for a new user', '... for a user who has a key already'

#: The number that a key begins with.
AES, AES256K = 1, 2


@dataclasses.dataclass(frozen=True)
class User:
    """A cephx user, its ceph.conf, and of which type its key is."""

    name: str
    conf: pathlib.Path
    key_type: int


@pytest.fixture
def cluster(tmp_path):
    """One of Ceph 20 that nobody has told anything."""
    made = small_cluster.SmallCluster(
        tmp_path / 'cluster',
        '127.0.0.1',
        {'v2': 17300, 'v1': 17301},
        inside=[WITH_CEPH20],
    )
    with made.running():
        # The page makes this one.
        made.command('ceph', 'auth', 'rm', 'client.nova')
        yield made


@pytest.fixture
def user_of(cluster, tmp_path):
    """A user of the cluster, who is made if words say how."""

    def get(name, *words):
        said = cluster.command(
            'ceph', 'auth', 'get-or-create', f'client.{name}', *words
        )
        key = re.search(r'key = (\S+)', said)[1]
        conf = tmp_path / f'{uuid.uuid4()}.conf'
        clusters.write_key(conf, name, key)
        conf.write_text(
            f'{cluster.conf.read_text()}\n'
            f'[client.{name}]\nkeyring = {conf}.keyring\n'
        )
        return User(name, conf, base64.b64decode(key)[0])

    return get


@pytest.fixture
def admit_older_clients(cluster):
    """Enters what the page says to one reader, and nothing but that."""

    def is_done(step):
        program, *words = shlex.split(step.command)
        assert program == 'ceph'
        try:
            cluster.command(program, *words)
        except subprocess.CalledProcessError:
            return False
        return True

    def admit(reader=NEW):
        steps = list(pages.steps('releases'))
        assert {NEW, HAS_A_KEY} < {step.who for step in steps}
        for step in steps:
            if step.who in {NEW, HAS_A_KEY} - {reader}:
                continue
            # An option of a daemon is in force a moment after it is set.
            polling.until(
                functools.partial(is_done, step), step.command, seconds=60
            )

    return admit


def older_client_sees_the_disk(user):
    older = ceph.Cluster(str(user.conf), user.name, SECONDS, {})
    try:
        return older.has_image('vms', 'disk')
    finally:
        older.close()


def newer_client_sees_the_disk(user):
    said = subprocess.run(
        [
            *(WITH_CEPH20, 'python', '-c', ASK),
            *(str(user.conf), user.name, str(SECONDS)),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    return said == 'True\n'


def test_a_new_cluster_admits_newer_clients_alone(cluster, user_of):
    user = user_of('usual', *CAPS)

    assert user.key_type == AES256K
    assert newer_client_sees_the_disk(user)
    with pytest.raises(exceptions.ClusterUnreachable):
        older_client_sees_the_disk(user)
    with pytest.raises(subprocess.CalledProcessError):
        user_of('older', '--key_type', 'aes', *CAPS)


def test_with_the_page_s_commands_it_admits_both(user_of, admit_older_clients):
    admit_older_clients()

    # Whom the page makes.
    nova = user_of('nova')
    assert nova.key_type == AES
    assert older_client_sees_the_disk(nova)
    assert newer_client_sees_the_disk(nova)
    # Others get what they get otherwise.
    usual = user_of('usual', *CAPS)
    assert usual.key_type == AES256K
    assert newer_client_sees_the_disk(usual)
    with pytest.raises(exceptions.ClusterUnreachable):
        older_client_sees_the_disk(usual)


def test_a_user_who_has_a_key_gets_another(user_of, admit_older_clients):
    before = user_of('nova', *CAPS)
    usual = user_of('usual', *CAPS)
    assert before.key_type == usual.key_type == AES256K

    admit_older_clients(HAS_A_KEY)

    after = user_of('nova', *CAPS)
    assert after.key_type == AES
    assert older_client_sees_the_disk(after)
    assert newer_client_sees_the_disk(after)
    with pytest.raises(subprocess.CalledProcessError):
        newer_client_sees_the_disk(before)
    # What is said of a new user changes no key.
    assert user_of('usual', '--key_type', 'aes', *CAPS).key_type == AES256K
    assert newer_client_sees_the_disk(usual)


def test_a_cluster_that_takes_it_back_refuses_older_clients(
    cluster, user_of, admit_older_clients
):
    admit_older_clients()
    nova = user_of('nova')
    assert older_client_sees_the_disk(nova)

    cluster.command('ceph', 'mon', 'set', 'auth_allowed_ciphers', 'aes256k')

    with pytest.raises(exceptions.ClusterRefused):
        older_client_sees_the_disk(nova)


@pytest.fixture
def disk(west):
    """A disk in site west."""
    west.create('vms', 'of-libvirt', 8 << 20)
    yield 'of-libvirt'
    west.remove('vms', 'of-libvirt')


def with_newer_qemu(*words):
    """Has QEMU open an image with the newer client."""
    return subprocess.run(
        [WITH_CEPH20, 'qemu-img', 'info', *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def as_libvirt_tells(computes, where, tmp_path):
    """What QEMU is told of a disk in west, and the file with the key."""
    known = credentials.Credentials.load(where)
    key = tmp_path / 'keyring'
    key.write_text(known.ceph_key('west', 'client.nova'))
    port = layout.PORTS['ceph-mon-west-v1']

    def tell(name):
        xml = (
            '<disk type="network" device="disk">'
            '<driver name="qemu" type="raw"/><auth username="nova">'
            f'<secret type="ceph" uuid="{known.libvirt_secret}"/></auth>'
            f'<source protocol="rbd" name="vms/{name}">'
            f'<host name="{layout.HOST}" port="{port}"/></source>'
            '<target dev="vda" bus="virtio"/></disk>'
        )
        return guest_disk.options(computes['west-1'], xml, tmp_path), key

    return tell


def test_the_newer_client_knows_what_libvirt_tells_qemu(
    disk, as_libvirt_tells
):
    options, key = as_libvirt_tells(disk)
    assert options['auth-client-required'] == ['cephx', 'none']

    said = with_newer_qemu(
        '--object',
        f'secret,id={options["key-secret"]},format=base64,file={key}',
        f'json:{json.dumps(options)}',
    )

    assert 'virtual size: 8 MiB' in said.stdout, said.stderr


def test_the_newer_client_does_not_know_what_others_tell_qemu(disk, where):
    conf = where.sites[1].ceph_conf

    said = with_newer_qemu(
        f'rbd:vms/{disk}:id=nova:conf={conf}:auth_supported=cephx'
    )

    assert 'invalid conf option auth_supported' in said.stderr
