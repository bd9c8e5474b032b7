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


"""The file store is on a network share that hangs, dies and comes back.

One glance-api, or two, with one share, on which lies the marker that their
health check looks for (``enable_by_files``). tests/rig/share.py says what
stands in for NFS.
"""

import dataclasses
import os
import time
import urllib.error
import urllib.request

import pytest

from tests.rig import apis
from tests.rig import clusters
from tests.rig import hosts
from tests.rig import polling
from tests.rig import share as shares

pytestmark = pytest.mark.fault

POLL = {
    'libvirt__images_rbd_glance_copy_poll_interval': 2,
    'rbd_multistore__copy_stall_timeout': 20,
}


@pytest.fixture
def share(make_glance, tmp_path):
    """Goes before the glance-apis do, so that none hangs at its end."""
    made = shares.Share(tmp_path / 'network')
    made.mount()
    yield made
    made.remove()


@pytest.fixture(params=[1, 2], ids=['one', 'two'])
def glances(make_glance, share, request):
    """As many glance-apis, each with its file store on the share."""
    return [
        make_glance(
            file={'filesystem_store_datadir': str(share.path)},
            marker=share.marker,
        )
        for _ in range(request.param)
    ]


@pytest.fixture
def host(make_host, glances):
    """A host of west that knows these glance-apis alone."""
    return make_host(
        'west-1',
        glance__api_servers=[glance.url for glance in glances],
        **POLL,
    )


@pytest.fixture
def on_share(glances, begin_image, demo):
    """Makes images that only the share has."""

    def make(size_mib=8):
        image_id = begin_image()
        glances[0].put(demo, image_id, os.urandom(size_mib << 20))
        return demo.image.get_image(image_id)

    return make


@dataclasses.dataclass
class Fault:
    """What becomes of the share.

    :ivar end: makes that good
    :ivar error: of a boot whose copy meets it
    """

    begin: object
    end: object
    error: str


@pytest.fixture(params=['hang', 'death'])
def fault(request, share):
    if request.param == 'hang':
        made = Fault(share.hang, share.go_on, 'CopyStalled')
    else:
        made = Fault(share.die, share.come_back, 'CopyFailed')
    yield made
    # Before images are deleted there.
    made.end()


def is_clone(cluster, boot):
    assert boot.error is None, boot.message
    print(f'{boot.seconds:.1f} s')
    return cluster.parent(boot.disk) == clusters.of_glance(boot.image)


# What does not lie in the file store


def test_a_local_image_boots_while_the_share_is_away(
    upload, host, demo_user, west, fault
):
    image = upload(store='west')
    fault.begin()

    (boot,) = host.boot(demo_user, image.id)

    assert is_clone(west, boot)


def test_a_copy_from_another_store_goes_on_while_the_share_is_away(
    upload, host, demo_user, west, fault
):
    image = upload(store='east')
    fault.begin()

    (boot,) = host.boot(demo_user, image.id)

    assert is_clone(west, boot)


# The same with Nova's own driver


@pytest.fixture
def stock_host(make_host, make_glance, share):
    """A host of west whose one glance-api shows it all locations."""
    glance = make_glance(
        DEFAULT={'show_multiple_locations': 'true'},
        file={'filesystem_store_datadir': str(share.path)},
        marker=share.marker,
    )
    return make_host(
        'west-1',
        driver=hosts.STOCK,
        glance__endpoint_override=glance.url,
        libvirt__images_rbd_glance_copy_timeout=20,
        **POLL,
    )


@pytest.mark.parametrize('store', ['west', 'east'])
def test_stock_nova_boots_what_needs_no_share_while_it_is_away(
    upload, stock_host, demo_user, west, fault, store
):
    image = upload(store=store)
    fault.begin()

    (boot,) = stock_host.boot(demo_user, image.id)

    assert is_clone(west, boot)


@pytest.mark.parametrize('glances', [1], indirect=True, ids=['one'])
def test_stock_nova_waits_out_the_timeout_for_what_lies_there_alone(
    on_share, stock_host, demo_user, fault
):
    image = on_share()
    fault.begin()

    (boot,) = stock_host.boot(demo_user, image.id)

    assert 'timed out' in boot.message


# What lies there alone


@pytest.fixture
def boot_again(make_host, glances, demo_user):
    """Boots on a host that has seen nothing of what was before."""

    def boot(image):
        host = make_host(
            'west-1',
            glance__api_servers=[glance.url for glance in glances],
            **POLL,
        )
        (booted,) = host.boot(demo_user, image.id)
        return booted

    return boot


def test_what_lies_there_alone_fails_and_boots_when_the_share_is_back(
    on_share, host, boot_again, demo_user, west, fault
):
    image = on_share()
    fault.begin()

    (boot,) = host.boot(demo_user, image.id)

    print(f'{boot.seconds:.1f} s')
    assert boot.error == fault.error
    fault.end()
    assert is_clone(west, boot_again(image))


def test_what_was_being_staged_fails_and_boots_when_the_share_is_back(
    on_share, host, boot_again, glances, demo_user, west, fault
):
    image = on_share(size_mib=256)
    host.start(demo_user, [image.id])
    polling.until(
        lambda: any(0 < glance.staged < image.size for glance in glances),
        'it is being staged',
        pause=0.005,
    )
    fault.begin()

    (boot,) = host.outcomes()

    print(f'{boot.seconds:.1f} s')
    assert boot.error == fault.error
    fault.end()
    assert is_clone(west, boot_again(image))


def test_a_share_that_goes_away_between_request_and_poll_is_not_missed(
    on_share, host, glances, demo_user, west, fault
):
    """What is staged is not read again."""
    image = on_share(size_mib=64)
    host.start(demo_user, [image.id])
    polling.until(
        lambda: any(glance.staged == image.size for glance in glances),
        'it is staged',
        pause=0.005,
    )
    fault.begin()

    (boot,) = host.outcomes()

    assert is_clone(west, boot)


def test_without_its_mount_glance_goes_on_with_the_directory_below(
    on_share, host, boot_again, share, demo_user, west
):
    there = on_share()
    share.unmount()
    below = on_share()

    lost, found = host.boot(demo_user, there.id, below.id)

    assert lost.error == 'CopyFailed'
    assert is_clone(west, found)
    share.mount()
    assert is_clone(west, boot_again(there))


@pytest.mark.parametrize('glances', [2], indirect=True, ids=['two'])
def test_a_glance_that_starts_without_the_share_stops_no_boot(
    on_share, upload, glances, host, make_host, demo_user, west, fault
):
    """And it serves what lies there when the share is back."""
    local, remote, there = (
        upload(store='west'),
        upload(store='east'),
        on_share(),
    )
    starting = glances[1]
    starting.kill()
    fault.begin()
    starting.launch()

    boots = host.boot(demo_user, local.id, remote.id)

    for boot in boots:
        assert is_clone(west, boot)
    fault.end()
    apis.wait_for(starting.url)
    knows_it_alone = make_host(
        'west-1', glance__endpoint_override=starting.url, **POLL
    )
    (boot,) = knows_it_alone.boot(demo_user, there.id)
    assert is_clone(west, boot)


# The marker alone


def test_without_its_marker_every_glance_is_sick_and_is_asked(
    on_share, upload, host, share, demo_user, west
):
    local, remote, there = (
        upload(store='west'),
        upload(store='east'),
        on_share(),
    )
    share.delete_marker()

    boots = host.boot(demo_user, local.id, remote.id, there.id)

    for boot in boots:
        assert is_clone(west, boot)


# What Kubernetes would do


@pytest.fixture
def two_threads(make_glance, share):
    """A glance-api that answers two questions at a time."""
    return make_glance(
        threads=2,
        file={'filesystem_store_datadir': str(share.path)},
        marker=share.marker,
    )


def test_a_share_that_died_is_seen_by_the_health_check(two_threads, share):
    assert two_threads.health() == 200
    share.die()
    # What was looked up is remembered for a second.
    polling.until(lambda: two_threads.health() == 503, 'it is seen')
    share.come_back()
    polling.until(lambda: two_threads.health() == 200, 'it is seen again')


def test_a_page_that_opens_no_file_answers_while_the_share_hangs(
    two_threads, share
):
    """What a probe may ask for, if nothing uses up the threads."""
    share.hang()
    time.sleep(2)

    for _ in range(5):
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(  # noqa: S310
                f'{two_threads.url}/', timeout=5
            )
        assert answer.value.code == 300


def test_a_share_that_hangs_uses_up_what_answers_health_checks(
    two_threads, share
):
    """Each check keeps its thread until the share goes on."""
    assert two_threads.health() == 200
    share.hang()
    # What was looked up is remembered for a second.
    time.sleep(2)
    # A probe of kubelet's waits no longer.
    checks = [two_threads.health(seconds=2) for _ in range(2)]
    assert checks == [None, None]

    with pytest.raises(TimeoutError):
        urllib.request.urlopen(f'{two_threads.url}/', timeout=5)  # noqa: S310

    share.go_on()
    polling.until(lambda: two_threads.health() == 200, 'it answers as before')


# What the driver itself asks


@pytest.mark.both_modes
def test_a_host_takes_one_thread_of_a_glance_whose_share_hangs(
    upload, make_host, make_glance, share, where, demo_user, west
):
    """However long it hangs, and however often the host boots meanwhile."""
    image = upload(store='west')
    hanging = make_glance(
        file={'filesystem_store_datadir': str(share.path)}, marker=share.marker
    )
    made = [
        make_host(
            'west-1',
            glance__api_servers=[hanging.url, where.glance_apis[0].url],
            # So that questions end, and are asked again.
            glance__timeout=3,
            rbd_multistore__glance_endpoint_rest=1,
        )
        for _ in range(2)
    ]
    share.hang()

    for host in made:
        host.start(demo_user, [image.id] * 8, at=hosts.soon(), apart=1.5)
    boots = [boot for host in made for boot in host.outcomes()]

    for boot in boots:
        assert is_clone(west, boot)
    assert share.held(hanging) == len(made)
    share.go_on()
    polling.until(lambda: share.held(hanging) == 0, 'all threads are free')
    assert hanging.health() == 200
