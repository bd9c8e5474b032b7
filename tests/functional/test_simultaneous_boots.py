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

"""Many boots of one cold image at once, on one host, on many, on two sites."""

import pytest

from tests.rig import clusters
from tests.rig import hosts

#: Nova polls more often here, so that the second site of two need not wait.
POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}


def boot_together(making, user, image_ids):
    """Boot on several hosts at the same moment; the outcomes of all."""
    at = hosts.soon(4.0 + len(making))
    for host in making:
        host.start(user, image_ids, at)
    return [outcome for host in making for outcome in host.outcomes()]


def errors(outcomes):
    return [boot.message for boot in outcomes if boot.error]


@pytest.mark.both_modes
def test_16_boots_on_one_host_share_one_copy(
    upload, make_host, demo_user, west, copy_tasks
):
    image = upload(size_mib=64)
    parent = clusters.of_glance(image.id)

    boots = make_host('west-1').boot(demo_user, *[image.id] * 16)

    assert errors(boots) == []
    assert {west.parent(boot.disk) for boot in boots} == {parent}
    assert len(copy_tasks(image.id)) == 1


def test_the_boots_of_one_host_ask_glance_for_one_copy(
    upload, make_host, demo_user
):
    image = upload(size_mib=64)
    host = make_host('west-1')

    host.boot(demo_user, *[image.id] * 16)

    assert host.log.count('Glance copies image') == 1
    assert 'Waiting for image' not in host.log


@pytest.mark.long
def test_16_hosts_of_one_site_share_one_copy(
    upload, make_host, demo_user, west, copy_tasks
):
    image = upload(size_mib=64)
    parent = clusters.of_glance(image.id)

    boots = boot_together(
        [make_host('west-1') for _ in range(16)], demo_user, [image.id]
    )

    assert errors(boots) == []
    assert {west.parent(boot.disk) for boot in boots} == {parent}
    assert len(copy_tasks(image.id)) == 1


@pytest.mark.fault
def test_stock_nova_goes_flat_on_the_losing_host_of_a_site_and_stays_flat(
    upload, make_stock_host, demo_user, west
):
    image = upload(size_mib=64)
    parent = clusters.of_glance(image.id)
    making = [
        make_stock_host(
            workarounds__never_download_image_if_on_rbd=False, **POLL
        )
        for _ in range(2)
    ]

    first = boot_together(making, demo_user, [image.id])
    # By now the image is in their store.
    later = boot_together(making, demo_user, [image.id])

    assert errors(first + later) == []
    parents = [west.parent(boot.disk) for boot in first]
    assert sorted(parents, key=bool) == [None, parent]
    assert [west.parent(boot.disk) for boot in later] == parents


def test_both_sites_at_once_get_their_copies_one_after_the_other(
    upload, make_glance, make_host, demo_user, east, west, copy_tasks
):
    # On glance-apis that were just started, as the first boots of a cloud's
    # day: what only their first copy takes is not hidden by earlier ones.
    image = upload(size_mib=64)
    parent = clusters.of_glance(image.id)
    in_east, in_west = (
        make_host(
            like,
            glance__endpoint_override=make_glance(workers=4, threads=1).url,
            **POLL,
        )
        for like in ('east-1', 'west-1')
    )

    boots = boot_together([in_east, in_west], demo_user, [image.id])

    assert errors(boots) == []
    assert east.parent(boots[0].disk) == parent
    assert west.parent(boots[1].disk) == parent
    # One that lost its lock to the other is said to have failed.
    made = [
        task for task in copy_tasks(image.id) if task['status'] == 'success'
    ]
    assert sorted(task['input']['backend'] for task in made) == [
        ['east'],
        ['west'],
    ]


@pytest.mark.long
def test_stock_nova_fails_the_loser_of_two_sites(
    upload, make_stock_host, demo_user
):
    image = upload(size_mib=64)
    making = [make_stock_host(like, **POLL) for like in ('east-1', 'west-1')]

    boots = boot_together(making, demo_user, [image.id])

    (failed,) = [boot for boot in boots if boot.error]
    # Of two requests in the same moment, MariaDB may take one for the other's
    # deadlock: Glance answers that one 500, and stock Nova asks but once.
    assert failed.error in ('ImageUnacceptable', 'HTTPInternalServerError')
    assert failed.error == 'HTTPInternalServerError' or (
        'Image has active task' in failed.message
        or 'prior operation is still in progress' in failed.message
    )


def test_different_images_are_copied_side_by_side(
    upload, make_host, demo_user, copy_tasks
):
    images = [upload(size_mib=64) for _ in range(4)]

    boots = make_host('west-1').boot(demo_user, *[i.id for i in images])

    assert errors(boots) == []
    tasks = [copy_tasks(image.id) for image in images]
    assert [len(of_image) for of_image in tasks] == [1, 1, 1, 1]
    began = max(of_image[0]['created_at'] for of_image in tasks)
    ended = min(of_image[0]['updated_at'] for of_image in tasks)
    assert began < ended


def test_a_boot_of_a_local_image_overtakes_a_copy(
    upload, make_host, demo_user
):
    cold = upload(size_mib=256)
    local = upload(store='west')

    boots = make_host('west-1').boot(demo_user, cold.id, local.id)

    assert errors(boots) == []
    of_cold, of_local = boots
    assert of_local.seconds < of_cold.seconds / 2
