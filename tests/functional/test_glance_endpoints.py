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

"""Several glance-apis: any may be down, sick, or without our store."""

import dataclasses
import signal

import pytest

from lab import layout
from tests.rig import clusters
from tests.rig import hosts
from tests.rig import polling
from tests.rig import strange_servers

pytestmark = pytest.mark.fault

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}

#: Nobody listens on this port of loopback.
DEAD = 'http://127.0.0.1:9'


@pytest.fixture
def urls(where):
    return [api.url for api in where.glance_apis]


@pytest.fixture
def add_endpoint(admin):
    """Adds endpoints of Glance to Keystone's catalog, until the end."""
    service = admin.identity.find_service('glance', ignore_missing=False)
    made = []

    def add(interface, url, region=layout.REGION):
        made.append(
            admin.identity.create_endpoint(
                service_id=service.id,
                region_id=region,
                interface=interface,
                url=url,
            )
        )

    yield add
    for endpoint in made:
        admin.identity.delete_endpoint(endpoint)


@pytest.fixture
def other_region(admin, make_glance, add_endpoint):
    """Another region of the cloud, and its Glance in the catalog."""
    region = admin.identity.create_region(id='RegionTwo')
    glance = make_glance()
    add_endpoint('internal', glance.url, region.id)
    yield glance
    for endpoint in admin.identity.endpoints(region_id=region.id):
        admin.identity.delete_endpoint(endpoint)
    admin.identity.delete_region(region)


@pytest.mark.both_modes
@pytest.mark.parametrize('down', ['glance-api-1', 'glance-api-2'])
def test_one_of_two_down_from_the_start_is_not_noticed(
    upload, make_host, demo_user, west, stop, down
):
    image = upload()
    stop(down)

    boots = make_host('west-1').boot(demo_user, image.id, image.id)

    assert [boot.error for boot in boots] == [None, None]
    assert {west.parent(boot.disk) for boot in boots} == {
        clusters.of_glance(image.id)
    }


def test_stock_nova_fails_with_the_one_endpoint_that_it_took(
    upload, make_stock_host, demo_user
):
    image = upload(store='west')
    host = make_stock_host(
        glance__endpoint_override=DEAD, glance__num_retries=1
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'GlanceConnectionFailed'


@pytest.mark.both_modes
def test_one_dying_between_request_and_poll_is_not_noticed(
    upload, make_host, demo_user, west, hold_copy, stop
):
    image = upload(size_mib=64)
    theirs = hold_copy(image.id, 'west')
    host = make_host('west-1', **POLL)
    host.start_waiting(demo_user, image.id)

    stop('glance-api-1', signal.SIGKILL)
    theirs.thaw()
    (boot,) = host.outcomes()

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


def test_stock_nova_fails_when_glance_dies_between_request_and_poll(
    upload, make_stock_host, glance_for_stock, demo_user, copy_tasks
):
    image = upload(size_mib=256)
    host = make_stock_host(glance__num_retries=1, **POLL)
    host.start(demo_user, [image.id])
    polling.until(lambda: copy_tasks(image.id), 'Nova has asked for a copy')

    glance_for_stock.kill()
    (boot,) = host.outcomes()

    assert boot.error == 'GlanceConnectionFailed'


def test_one_whose_file_store_is_away_is_not_asked(
    upload, make_host, make_glance, demo_user, west, urls
):
    image = upload()
    sick = make_glance()
    sick.lose_marker()
    host = make_host('west-1', glance__api_servers=[sick.url, urls[0]])

    (boot,) = host.boot(demo_user, image.id)

    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert '/v2/' not in sick.requests


def test_stock_nova_asks_one_whose_file_store_is_away(
    upload, make_stock_host, glance_for_stock, demo_user
):
    image = upload(store='west')
    glance_for_stock.lose_marker()

    make_stock_host().boot(demo_user, image.id)

    assert f'/v2/images/{image.id}' in glance_for_stock.requests


def test_both_down_for_20_seconds_are_survived(
    upload, make_host, demo_user, west, hold_copy, supervisor, stop
):
    image = upload(size_mib=64)
    theirs = hold_copy(image.id, 'west')
    host = make_host('west-1', **POLL)
    host.start_waiting(demo_user, image.id)

    stop('glance-api-1')
    stop('glance-api-2')
    theirs.thaw()
    host.wait_for_log('No glance-api answered')
    host.wait_for_log('No glance-api answered', times=6)
    supervisor.start('glance-api-1')
    supervisor.start('glance-api-2')
    (boot,) = host.outcomes()

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


@pytest.mark.both_modes
def test_both_down_for_good_are_both_named_with_what_each_said(
    upload, make_host, demo_user
):
    image = upload()
    other = 'http://127.0.0.1:10'
    host = make_host(
        'west-1', glance__api_servers=[DEAD, other], glance__num_retries=0
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'GlanceUnavailable'
    assert 'ImageUnacceptable' not in boot.classes
    (line,) = [
        line
        for line in host.log.splitlines()
        if 'No glance-api answered: ' in line
    ]
    assert DEAD in line
    assert other in line
    assert line.count('Unable to establish connection') == 2


def test_one_without_our_store_is_passed_over(
    upload, make_host, make_glance, demo_user, west, urls
):
    image = upload()
    without = make_glance(DEFAULT={'enabled_backends': 'file:file, east:rbd'})
    host = make_host('west-1', glance__api_servers=[without.url, urls[0]])

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


def test_one_without_our_store_does_not_count_as_one_that_is_down(
    upload, make_host, make_glance, demo_user
):
    image = upload()
    without = make_glance(DEFAULT={'enabled_backends': 'file:file, east:rbd'})
    host = make_host(
        'west-1',
        glance__api_servers=[without.url, DEAD],
        rbd_multistore__copy_stall_timeout=6,
        **POLL,
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'StoreUnavailable'
    assert '1 of 2 lack' in boot.message


def test_a_store_that_no_endpoint_knows_is_said_at_once(
    upload, make_host, demo_user, copy_tasks
):
    image = upload()
    host = make_host('west-1', libvirt__images_rbd_glance_store_name='wset')

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'StoreUnknown'
    assert 'ImageUnacceptable' not in boot.classes
    assert 'no store named wset' in boot.message[:120]
    assert copy_tasks(image.id) == []


def test_stock_nova_takes_an_unknown_store_for_a_refusal(
    upload, make_stock_host, demo_user
):
    image = upload()
    host = make_stock_host(libvirt__images_rbd_glance_store_name='wset')

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'ImageUnacceptable'


@pytest.mark.both_modes
def test_a_list_of_endpoints_goes_before_one_of_one_s_own_and_the_catalog(
    upload, make_host, make_glance, demo_user
):
    image = upload()
    listed, chosen = make_glance(), make_glance()
    host = make_host(
        'west-1',
        glance__api_servers=[listed.url],
        glance__endpoint_override=chosen.url,
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert f'POST /v2/images/{image.id}/import' in listed.requests
    assert '/v2/' not in chosen.requests


@pytest.mark.both_modes
def test_an_endpoint_of_one_s_own_goes_before_the_catalog(
    upload, make_host, make_glance, demo_user
):
    image = upload()
    chosen = make_glance()
    host = make_host('west-1', glance__endpoint_override=chosen.url)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert f'POST /v2/images/{image.id}/import' in chosen.requests


@pytest.mark.both_modes
def test_the_glance_of_another_region_is_not_asked(
    upload, make_host, demo_user, other_region
):
    ours, theirs = upload(), upload()

    (boot,) = make_host('west-1').boot(demo_user, ours.id)
    (other_boot,) = make_host('west-1', glance__region_name='RegionTwo').boot(
        demo_user, theirs.id
    )

    assert [boot.error, other_boot.error] == [None, None]
    assert ours.id not in other_region.requests
    assert f'POST /v2/images/{theirs.id}/import' in other_region.requests


@pytest.mark.both_modes
def test_a_boot_fails_if_the_region_is_a_guess(
    upload, make_host, demo_user, other_region, copy_tasks
):
    image = upload()

    (boot,) = make_host('west-1', glance__region_name='').boot(
        demo_user, image.id
    )

    assert boot.error == 'RegionAmbiguous'
    assert 'ImageUnacceptable' not in boot.classes
    assert f'({layout.REGION}, RegionTwo)' in boot.message[:120]
    assert 'set [glance] region_name' in boot.message
    assert image.id not in other_region.requests
    assert copy_tasks(image.id) == []


def test_stock_nova_asks_the_glance_of_whichever_region(
    upload, make_host, demo_user, other_region, urls
):
    image = upload(store='west')
    endpoints = [
        {'region': 'RegionTwo', 'internalURL': other_region.url},
        {'region': layout.REGION, 'internalURL': urls[0]},
    ]
    user = dataclasses.replace(
        demo_user,
        service_catalog=[
            {'type': 'image', 'name': 'glance', 'endpoints': endpoints}
        ],
    )

    make_host('west-1', driver=hosts.STOCK, glance__region_name='').boot(
        user, image.id
    )

    assert f'/v2/images/{image.id}' in other_region.requests


@pytest.mark.usefixtures('other_region')
def test_nova_compute_does_not_start_if_the_region_is_a_guess(
    refuse, computes, log_of
):
    log = log_of(computes['west-1'].program)

    refuse('west-1', glance__region_name='')

    assert f'({layout.REGION}, RegionTwo)' in log.text
    assert 'InvalidConfiguration' in log.text


def test_nova_compute_says_at_start_which_region_it_asks(
    configure, computes, log_of
):
    log = log_of(computes['west-1'].program)

    configure('west-1', glance__region_name='')

    assert log.text.count(f'glance-apis of region {layout.REGION}') == 1


@pytest.mark.both_modes
def test_the_first_interface_that_has_endpoints_is_taken(
    upload, make_host, make_glance, demo_user, add_endpoint
):
    image = upload()
    of_admins = make_glance()
    add_endpoint('admin', of_admins.url)
    host = make_host('west-1', glance__valid_interfaces=['admin', 'internal'])

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert f'POST /v2/images/{image.id}/import' in of_admins.requests


def test_an_interface_without_endpoints_is_passed_over(
    upload, make_host, demo_user
):
    image = upload()
    host = make_host('west-1', glance__valid_interfaces=['admin', 'internal'])

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message


@pytest.mark.parametrize('answer', strange_servers.ANSWERS)
def test_a_malformed_answer_is_its_endpoint_s_failure(
    upload, make_host, demo_user, west, urls, answer
):
    image = upload(store='west')
    with strange_servers.answering(*strange_servers.ANSWERS[answer]) as (
        url,
        asked,
    ):
        host = make_host(
            'west-1',
            glance__api_servers=[url, urls[0]],
            # Ask the stranger each time it is first in turn.
            rbd_multistore__glance_endpoint_rest=1,
        )

        boots = host.boot(demo_user, *[image.id] * 6)

        assert {boot.error for boot in boots} == {None}
        assert asked() > 0


@pytest.mark.parametrize('answer', strange_servers.ANSWERS)
def test_stock_nova_fails_at_a_malformed_answer(
    upload, make_stock_host, demo_user, answer
):
    image = upload(store='west')
    with strange_servers.answering(*strange_servers.ANSWERS[answer]) as (
        url,
        _asked,
    ):
        host = make_stock_host(glance__endpoint_override=url)

        (boot,) = host.boot(demo_user, image.id)

        assert boot.error is not None
