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

"""A glance-api that hangs, or wants to be left alone, among others or not.

What a boot loses shows in its log: each that meets one that hangs says so.
"""

import pytest

from tests.rig import clusters
from tests.rig import hosts
from tests.rig import relays

#: Seconds that no boot of a local image takes, unless it waits for a request's
#: time-out, which is 60.
LONG = 15

#: Endpoints are tried again often, so that boots would meet them again.
RESTLESS = {'rbd_multistore__glance_endpoint_rest': 2}


@pytest.fixture
def urls(where):
    return [api.url for api in where.glance_apis]


def met(host, url):
    """How many boots have waited in vain for this endpoint.

    On a busy machine, others may be slow, too.
    """
    return sum(
        f'glance-api {url} failed' in line and 'no answer within' in line
        for line in host.log.splitlines()
    )


@pytest.mark.both_modes
def test_one_that_freezes_is_met_by_one_boot(
    upload, make_host, make_glance, demo_user, west, urls
):
    image = upload(store='west')
    freezing = make_glance()
    host = make_host(
        'west-1',
        glance__api_servers=[freezing.url, urls[0]],
        # So that boots begin while the first one waits, and none takes the
        # other endpoint for hanging because the machine is busy.
        rbd_multistore__glance_patience=4,
        **RESTLESS,
    )
    host.start(demo_user, [image.id] * 9, at=hosts.soon(), apart=1.5)

    host.wait_for_log('DISK-OUTCOME', times=3)
    freezing.freeze()
    boots = host.outcomes()

    assert {boot.error for boot in boots} == {None}
    assert met(host, freezing.url) == 1
    assert max(boot.seconds for boot in boots) < LONG
    assert {west.parent(boot.disk) for boot in boots} == {
        clusters.of_glance(image.id)
    }


@pytest.mark.fault
@pytest.mark.both_modes
def test_of_16_boots_at_once_one_meets_it(
    upload, make_host, make_glance, demo_user, urls
):
    image = upload(store='west')
    frozen = make_glance()
    frozen.freeze()
    host = make_host('west-1', glance__api_servers=[frozen.url, urls[0]])

    boots = host.boot(demo_user, *[image.id] * 16)

    assert {boot.error for boot in boots} == {None}
    assert met(host, frozen.url) == 1
    assert max(boot.seconds for boot in boots) < LONG


@pytest.mark.fault
@pytest.mark.both_modes
def test_the_same_where_the_other_answers_late(
    upload, make_host, make_glance, demo_user, urls
):
    image = upload(store='west')
    frozen = make_glance()
    frozen.freeze()
    # Later than boots wait for one where there are others.
    with relays.Slow(urls[0], 1.5).run() as slow:
        host = make_host('west-1', glance__api_servers=[frozen.url, slow.url])
        boots = host.boot(demo_user, *[image.id] * 16)

    assert {boot.error for boot in boots} == {None}
    assert met(host, frozen.url) == 1
    assert max(boot.seconds for boot in boots) < LONG


@pytest.mark.fault
@pytest.mark.parametrize('drip', [b'', b'X-Patience: 1\r\n'])
def test_one_that_never_ends_an_answer_is_met_by_one_boot(
    upload, make_host, demo_user, urls, drip
):
    image = upload(store='west')
    with relays.hanging(drip) as url:
        host = make_host(
            'west-1', glance__api_servers=[url, urls[0]], **RESTLESS
        )
        host.start(demo_user, [image.id] * 6, at=hosts.soon(), apart=1.5)
        boots = host.outcomes()

    assert {boot.error for boot in boots} == {None}
    assert met(host, url) <= 1
    assert max(boot.seconds for boot in boots) < LONG


@pytest.mark.fault
@pytest.mark.parametrize('drip', [b'', b'X-Patience: 1\r\n'])
def test_a_whole_answer_has_to_come_in_time(
    upload, make_host, demo_user, drip
):
    image = upload(store='west')
    with relays.hanging(drip) as url:
        host = make_host(
            'west-1',
            glance__api_servers=[url],
            glance__timeout=3,
            glance__num_retries=0,
        )
        (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'GlanceUnavailable'
    assert 3 <= boot.seconds < LONG


@pytest.mark.fault
def test_one_whose_health_check_alone_hangs_is_met_by_one_boot(
    upload, make_host, demo_user, urls
):
    image = upload(store='west')
    with relays.Unwell(urls[1]).run() as unwell:
        host = make_host(
            'west-1', glance__api_servers=[unwell.url, urls[0]], **RESTLESS
        )
        host.start(demo_user, [image.id] * 6, at=hosts.soon(), apart=1.5)
        boots = host.outcomes()

    assert {boot.error for boot in boots} == {None}
    assert met(host, unwell.url) <= 1
    assert max(boot.seconds for boot in boots) < LONG


@pytest.mark.fault
def test_where_all_are_sick_local_images_and_other_stores_serve(
    upload, make_host, make_glance, demo_user, west
):
    local, distant = upload(store='west'), upload(store='east')
    sick = [make_glance(), make_glance()]
    for api in sick:
        api.lose_marker()
    host = make_host('west-1', glance__api_servers=[api.url for api in sick])

    boots = host.boot(demo_user, local.id, distant.id)

    assert [boot.error for boot in boots] == [None, None]
    assert [west.parent(boot.disk) for boot in boots] == [
        clusters.of_glance(local.id),
        clusters.of_glance(distant.id),
    ]


@pytest.mark.fault
def test_a_storm_behind_a_rate_limit_ends_in_clones(
    upload, make_host, demo_user, west, urls
):
    image = upload()
    with relays.Limiter(urls[0], rate=5).run() as limiter:
        host = make_host('west-1', glance__api_servers=[limiter.url])
        boots = host.boot(demo_user, *[image.id] * 16)

    assert {boot.error for boot in boots} == {None}
    assert {west.parent(boot.disk) for boot in boots} == {
        clusters.of_glance(image.id)
    }
    # The first of each boot, and one that finds out when a second is full.
    seconds = len(limiter.passed) / 5
    assert len(limiter.refused) <= 16 + seconds + 1
