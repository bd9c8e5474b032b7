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

"""One site's cluster does not answer: do the others get their copies?

All threads in which a glance-api copies are at work on store east, whose
cluster hangs. A server boots in west.
"""

import pytest

from tests.rig import clusters
from tests.rig import polling

pytestmark = pytest.mark.fault

#: Glance's default of ``[wsgi] task_pool_threads``.
THREADS = 16

#: For the boot that waits behind them.
BOOT = {
    'libvirt__images_rbd_glance_copy_poll_interval': 2,
    'libvirt__images_rbd_glance_copy_timeout': 60,
}


@pytest.fixture
def make_patient_glance(make_glance):
    """Runs a glance-api that waits so many seconds for its clusters."""

    def make(seconds):
        timeout = {'rados_connect_timeout': str(seconds)}
        return make_glance(east=timeout, west=timeout)

    return make


@pytest.fixture
def hang(east, freeze, full_cluster):
    """Has east's cluster answer no more: by a daemon, or because it is full.

    Gives what thaws the daemon.
    """

    def begin(fault):
        if fault == 'full':
            return full_cluster(east)
        return freeze(fault)

    return begin


@pytest.fixture
def stick(upload, hang, admin):
    """Has a glance-api try as many copies to east as it has threads."""

    def begin(glance, fault):
        images = [upload(size_mib=1) for _ in range(THREADS)]
        go_on = hang(fault)
        for image in images:
            glance.request_copy(admin, image.id, 'east')
        polling.until(
            lambda: len(list(glance.staging.iterdir())) == THREADS,
            'all are staged',
        )
        return images, go_on

    return begin


def test_without_time_outs_one_site_stops_the_copies_of_all(
    upload, make_host, make_patient_glance, stick, demo_user, copy_tasks
):
    """Glance's default: it waits for ever."""
    image = upload()
    glance = make_patient_glance(-1)
    images, go_on = stick(glance, 'ceph-osd-east')
    host = make_host('west-1', glance__endpoint_override=glance.url, **BOOT)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'CopyQueued'
    assert boot.seconds > 50
    for stuck in images:
        (task,) = copy_tasks(stuck.id)
        assert task['status'] == 'processing'
    go_on()


@pytest.mark.parametrize('fault', ['ceph-osd-east', 'ceph-mon-east', 'full'])
def test_with_time_outs_the_others_have_their_copies(
    upload,
    # Before what makes the cluster hang: it looks for disks there in the end.
    make_host,
    make_patient_glance,
    stick,
    demo_user,
    west,
    copy_tasks,
    fault,
):
    image = upload()
    glance = make_patient_glance(5)
    images, _ = stick(glance, fault)
    host = make_host('west-1', glance__endpoint_override=glance.url, **BOOT)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    for stuck in images:
        (task,) = copy_tasks(stuck.id)
        assert task['status'] == 'failure'
