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

"""The file store is on NFS: a real server, and the client of a real kernel.

That the stand-in of test_share.py does as NFS does. (tests/rig/nfs.py says on
which kernel.) Needs ``tools/install.sh --with nfs``.
"""

import dataclasses
import os

import pytest

from tests.rig import clusters
from tests.rig import nfs
from tests.rig import polling

pytestmark = pytest.mark.nfs

#: What was looked up is remembered for a second, not up to a minute.
HARD = 'hard,timeo=10,retrans=1,actimeo=1'
#: A server that is gone is given up: after a minute and a half at first, when
#: the connection is, and then after some seconds.
SOFT = 'soft,timeo=10,retrans=1,actimeo=1'


@pytest.fixture(params=[HARD, SOFT], ids=['hard', 'soft'])
def mount(request):
    return request.param


@pytest.fixture
def line():
    made = nfs.Line(1)
    made.lay()
    yield made
    made.remove()


@pytest.fixture
def server(tmp_path):
    made = nfs.Server(tmp_path / 'nfs')
    made.start()
    yield made
    made.stop()


@pytest.fixture
def glance(line, server, mount, where, tmp_path):
    api = nfs.GlanceApi(
        where.glance_apis[0].directory, tmp_path / 'glance', {}, line, mount
    )
    api.start()
    yield api
    api.kill()


@dataclasses.dataclass
class Silence:
    """The server answers nothing, until the end.

    :ivar hangs: whether whoever asks it waits for ever
    """

    begin: object
    end: object
    hangs: bool


@pytest.fixture(params=['stuck', 'gone'])
def silence(request, glance, line, server, mount):
    """Of a server that stands still, or whose host is not there."""
    if request.param == 'stuck':
        # Its host still acknowledges what comes, so that NFS 4 waits for it
        # however it was mounted.
        made = Silence(server.hang, server.go_on, hangs=True)
    else:
        made = Silence(line.cut, line.mend, hangs=mount == HARD)
    over = []

    def end():
        if not over:
            over.append(True)
            made.end()

    yield dataclasses.replace(made, end=end)
    # Before images are deleted there.
    end()


@pytest.fixture
def boot(make_host, glance, silence, demo_user):
    """Boots on a host of west that has seen nothing yet."""

    def boot(image):
        host = make_host(
            'west-1',
            glance__endpoint_override=glance.url,
            libvirt__images_rbd_glance_copy_poll_interval=2,
            rbd_multistore__copy_stall_timeout=30 if silence.hangs else 200,
        )
        (made,) = host.boot(demo_user, image.id)
        print(f'{made.seconds:.1f} s')
        return made

    return boot


@pytest.fixture
def on_share(glance, begin_image, demo):
    """Makes images that only the share has."""

    def make(size_mib=8):
        image_id = begin_image()
        glance.put(demo, image_id, os.urandom(size_mib << 20))
        return demo.image.get_image(image_id)

    return make


def is_clone(cluster, boot):
    assert boot.error is None, boot.message
    return cluster.parent(boot.disk) == clusters.of_glance(boot.image)


def test_where_the_share_hangs_so_does_the_health_check(glance, silence):
    assert glance.health() == 200

    silence.begin()

    said = None if silence.hangs else 503
    polling.until(lambda: glance.health() == said, f'it says {said}')
    silence.end()
    polling.until(lambda: glance.health() == 200, 'it is healthy again')


def test_what_needs_no_share_boots_while_it_is_silent(
    upload, boot, silence, west
):
    local, remote = upload(store='west'), upload(store='east')
    silence.begin()

    assert is_clone(west, boot(local))
    assert is_clone(west, boot(remote))


def test_what_it_alone_has_fails_and_boots_when_it_answers_again(
    on_share, boot, silence, west
):
    image = on_share()
    silence.begin()

    failed = boot(image)

    assert failed.error == ('CopyStalled' if silence.hangs else 'CopyFailed')
    silence.end()
    assert is_clone(west, boot(image))
