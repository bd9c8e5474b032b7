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

"""Requests that Glance accepts, and whose lock another then takes over.

Glance sets an image's lock before it stores the task that has it. A request
that comes in between finds a lock without a task, and takes it over. On a
glance-api that has just been started, there are seconds in between.
"""

import pytest

from tests.rig import clusters
from tests.rig import database
from tests.rig import hosts
from tests.rig import polling

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}

ABORTED = 'Task was aborted externally'
WARNED = 'and did not make it'


@pytest.mark.both_modes
def test_a_lock_that_another_takes_over_after_the_202_is_waited_for(
    upload,
    busy_glance,
    make_host,
    make_glance,
    freeze_glance,
    admin,
    demo_user,
    west,
    where,
    copy_tasks,
):
    image = upload()
    theirs = make_glance()
    ours, thaw_east = busy_glance
    host = make_host('west-1', glance__endpoint_override=ours.url, **POLL)
    host.start(demo_user, [image.id])
    polling.until(lambda: copy_tasks(image.id), 'our copy has been accepted')

    (task,) = copy_tasks(image.id)
    assert task['status'] == 'pending'
    freeze_glance(ours, image.id)
    database.hide_task(where, task['id'])
    theirs.request_copy(admin, image.id, 'east')
    database.show_task(where, task['id'])
    ours.thaw()
    thaw_east()
    (boot,) = host.outcomes()

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert host.log.count('Glance copies image') == 2
    assert host.log.count(WARNED) == 1
    # It was still queued, perhaps, when we had seen that it was lost.
    polling.until(
        lambda: ABORTED in [task['message'] for task in copy_tasks(image.id)],
        'Glance has ended it',
    )
    assert len(copy_tasks(image.id)) == 3


def test_an_import_that_glance_answers_with_500_is_repeated_at_once(
    upload, make_glance, make_host, demo_user, west, where
):
    # Glance takes an image's lock in two steps, and MariaDB ends one of two
    # transactions that wait for each other: some imports of many at once.
    image = upload()
    glance = make_glance()
    host = make_host(
        'west-1',
        glance__endpoint_override=glance.url,
        # A boot that waited for its next poll would time out.
        libvirt__images_rbd_glance_copy_poll_interval=600,
        libvirt__images_rbd_glance_copy_timeout=200,
    )
    with database.deadlock(where, image.id, upload().id) as win:
        host.start(demo_user, [image.id])
        win()
    (boot,) = host.outcomes()

    imports = [
        line.split('"')[2].split()[0]
        for line in glance.requests.splitlines()
        if f'POST /v2/images/{image.id}/import' in line
    ]
    assert imports == ['500', '202']
    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


@pytest.mark.fault
@pytest.mark.parametrize('attempt', range(5))
@pytest.mark.parametrize(('workers', 'threads'), [(1, 8), (4, 1)])
def test_both_sites_at_once_on_glances_that_were_just_started(
    upload,
    make_glance,
    make_host,
    demo_user,
    east,
    west,
    workers,
    threads,
    attempt,
):
    image = upload(size_mib=16)
    glances = [make_glance(workers, threads) for _ in range(2)]
    booting = [
        make_host(like, glance__endpoint_override=glance.url, **POLL)
        for like, glance in zip(('east-1', 'west-1'), glances, strict=True)
    ]

    at = hosts.soon()
    for host in booting:
        host.start(demo_user, [image.id], at)
    boots = [outcome for host in booting for outcome in host.outcomes()]

    assert [boot.message for boot in boots if boot.error] == []
    parent = clusters.of_glance(image.id)
    assert east.parent(boots[0].disk) == parent
    assert west.parent(boots[1].disk) == parent
