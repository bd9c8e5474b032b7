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
of tools/with-ceph20.sh.
"""

import base64
import dataclasses
import pathlib
import re
import shlex
import subprocess

import pytest

from nova_rbd_multistore import ceph
from nova_rbd_multistore import exceptions
from tests.rig import pages
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
        yield made


@pytest.fixture
def user_of(cluster, tmp_path):
    """A user of the cluster, who is made if words say how."""

    def get(name, *words):
        conf = cluster.conf_with(f'keyring = {tmp_path}/{name}.keyring')
        keyring = cluster.command(
            'ceph', 'auth', 'get-or-create', f'client.{name}', *words
        )
        (tmp_path / f'{name}.keyring').write_text(keyring)
        key = re.search(r'key = (\S+)', keyring)[1]
        return User(name, conf, base64.b64decode(key)[0])

    return get


@pytest.fixture
def admit_older_clients(cluster):
    """Enters what the page says, and nothing but that."""

    def admit():
        for step in pages.steps('releases'):
            program, *words = shlex.split(step.command)
            assert program == 'ceph'
            cluster.command(program, *words)

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


def test_a_cluster_that_takes_it_back_refuses_older_clients(
    cluster, user_of, admit_older_clients
):
    admit_older_clients()
    nova = user_of('nova')
    assert older_client_sees_the_disk(nova)

    cluster.command('ceph', 'mon', 'set', 'auth_allowed_ciphers', 'aes256k')

    with pytest.raises(exceptions.ClusterRefused):
        older_client_sees_the_disk(nova)
