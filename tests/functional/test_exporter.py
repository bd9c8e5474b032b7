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

"""``nova-rbd-multistore-exporter``, the real program on the real services."""

import dataclasses

from keystoneauth1.identity import v3
import pytest
import requests

from lab import cloud
from tests.rig import exporter
from tests.rig import polling

IN_EAST = 'images{store="east",visibility="shared"}'

#: What its log says while Glance hangs.
AWAY = 'Glance does not answer'


@pytest.fixture
def admins_account(where, supervisor):
    """What an administrator logs in by."""
    return dataclasses.asdict(cloud.account('admin', where))


@pytest.fixture
def made(tmp_path):
    return exporter.Exporter(tmp_path / 'exporter.log')


def test_images_are_counted_once_per_interval_however_often_it_is_asked(
    made, admins_account, upload, tmp_path, make_glance
):
    rules = tmp_path / 'rules.yaml'
    image = upload(store='east')
    rules.write_text(
        'version: 1\n'
        'rules:\n'
        f'  - images: {{ids: [{image.id}]}}\n'
        '    stores: [west]\n'
    )
    glance = make_glance()
    account = {**admins_account, 'image_endpoint_override': glance.url}
    with made.serving(account, '--interval', '3600', '--rules', rules):
        first = made.told()
        asked = glance.requests
        for _ in range(20):
            assert made.told() == first
    assert glance.requests == asked
    assert first['glance_up'] == 1
    assert first[IN_EAST] >= 1
    assert first['images_size_bytes{store="east",visibility="shared"}'] >= (
        8 << 20
    )
    assert first['missing_images{store="west"}'] == 1
    assert first['missing_images_size_bytes{store="west"}'] == 8 << 20
    # The stores, all images, and hidden ones.
    assert first['glance_requests_total'] == 3


@pytest.mark.long
def test_images_and_copies_are_counted_again(
    made, admins_account, upload, hold_copy
):
    with made.serving(admins_account, '--interval', '1'):
        before = made.told()[IN_EAST]
        image = upload(store='east')
        made.wait_for(IN_EAST, before + 1)
        hold_copy(image.id, 'west')
        polling.until(
            lambda: any(
                made.told()[f'copies{{state="{state}",store="west"}}'] == 1
                for state in ('queued', 'copying')
            ),
            'the copy is counted',
        )


def test_while_glance_hangs_the_last_count_stays(
    made, admins_account, upload, make_glance
):
    upload(store='east')
    glance = make_glance()
    account = {**admins_account, 'image_endpoint_override': glance.url}
    with made.serving(account, '--interval', '1', '--timeout', '2'):
        made.wait_for('glance_up', 1)
        # One that was just started may take longer than that for its first.
        before = made.log.count(AWAY)
        glance.freeze()
        made.wait_for('glance_up', 0)
        away = made.told()
        assert away[IN_EAST] >= 1
        glance.thaw()
        made.wait_for('glance_up', 1)
        assert (
            made.told()['last_list_timestamp_seconds']
            > away['last_list_timestamp_seconds']
        )
    assert made.log.count(AWAY) == before + 1
    assert admins_account['password'] not in made.log


#: As its --help has them.
RULES = ('GET /v2/info/stores', 'GET /v2/images', 'GET /v2/images/*/tasks')


def test_its_credential_can_be_limited_to_what_it_reads(
    upload, make_glance, make_service_user, limit_account, demo, hold_copy
):
    """What a thief has of it are image records and tasks."""
    image = upload(store='east')
    hold_copy(image.id, 'west')
    glance = make_glance(
        # Access rules are checked by services that know what they are.
        keystone_authtoken={'service_type': 'image'}
    )
    limited = limit_account(make_service_user('admin'), *RULES)

    done = exporter.once(
        {
            **limited,
            'auth_type': 'v3applicationcredential',
            'image_endpoint_override': glance.url,
        }
    )

    assert done.returncode == 0, done.stderr
    counted = exporter.values(done.stdout)
    assert counted[IN_EAST] >= 1
    assert limited['application_credential_secret'] not in done.stderr
    token = v3.ApplicationCredential(**limited).get_token(demo.session)
    for method, path in (
        ('GET', f'/v2/images/{image.id}/file'),
        ('GET', f'/v2/images/{image.id}/locations'),
        ('POST', f'/v2/images/{image.id}/import'),
        ('DELETE', f'/v2/images/{image.id}'),
    ):
        answer = requests.request(
            method,
            f'{glance.url}{path}',
            headers={'X-Auth-Token': token},
            timeout=60,
        )
        assert answer.status_code == 401


@pytest.mark.long
def test_a_user_counts_what_they_see(upload, admin, where):
    upload(store='east', owner=admin, visibility='private')
    done = exporter.once(dataclasses.asdict(cloud.account('demo', where)))
    assert done.returncode == 0
    private = 'images{store="east",visibility="private"}'
    assert exporter.values(done.stdout)[private] == 0


@pytest.mark.long
def test_ten_thousand_images_take_a_request_for_each_thousand(
    admins_account, ten_thousand
):
    done = exporter.once(admins_account)
    counted = exporter.values(done.stdout)
    private = 'images{store="east",visibility="private"}'
    assert counted[private] >= len(ten_thousand)
    seconds = counted['last_list_duration_seconds']
    requests_sent = counted['glance_requests_total']
    print(f'{seconds:.1f} s, {requests_sent:.0f} requests')
    # The stores, hidden images, and an empty last page, too.
    assert 12 <= requests_sent <= 14
