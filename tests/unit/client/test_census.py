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

"""All images are counted, by where they are and where they are to come."""

import datetime

import pytest

from nova_rbd_multistore_client import census
from nova_rbd_multistore_client import wanted

STORES = ('file', 'east', 'west')


@pytest.fixture
def taken(proxy, service):
    """Counts the images of Glance, by rules or without."""

    def take(rules=None, writable=STORES):
        return census.take(
            [(image, service.tasks(image.id)) for image in service.images()],
            STORES,
            writable,
            rules,
            proxy.clock.utcnow(),
        )

    return take


def test_images_are_counted_by_store_and_visibility(taken, proxy):
    proxy.add('one', 'east', size=3)
    proxy.add('two', 'east', 'west', size=4)
    proxy.add('own', 'east', size=5, visibility='private')
    held = taken().held
    assert held['east', 'public'] == census.Amount(2, 7)
    assert held['east', 'private'] == census.Amount(1, 5)
    assert held['west', 'public'] == census.Amount(1, 4)


def test_what_there_is_none_of_is_counted_too(taken):
    found = taken()
    assert found.held['west', 'community'] == census.Amount()
    assert found.copies['west', census.State.FAILED] == census.Copies()
    assert found.missing is None


def test_a_store_of_another_glance_api_is_counted(taken, proxy):
    proxy.add('one', 'south', size=3)
    assert taken().held['south', 'public'] == census.Amount(1, 3)


def test_of_an_image_without_a_size_none_is_counted(taken, proxy):
    proxy.add('one', 'east', size=None)
    assert taken().held['east', 'public'] == census.Amount(1, 0)


def test_a_visibility_that_is_no_word_of_glances_makes_no_label(taken, proxy):
    proxy.add('one', 'east', visibility='x' * 50)
    assert set(taken().held) - {
        (store, word) for store in STORES for word in census.VISIBILITIES
    } == {('east', 'unknown')}


@pytest.mark.parametrize(
    ('status', 'minutes', 'state'),
    [
        ('pending', 90, census.State.QUEUED),
        ('processing', 5, census.State.COPYING),
        ('processing', 11, census.State.SILENT),
        ('failure', 5, census.State.SILENT),
    ],
)
def test_a_copy_is_counted_by_its_state_with_its_age(
    taken, proxy, status, minutes, state
):
    image_id = proxy.add('one', 'file')
    task = proxy.lock(image_id, 'east', status=status)
    task['created_at'] = '2026-01-02T10:00:00Z'
    proxy.clock.sleep(60 * minutes)
    copies = taken().copies
    assert copies['east', state] == census.Copies(
        1, datetime.timedelta(minutes=120 + minutes)
    )
    assert sum(some.count for some in copies.values()) == 1


@pytest.mark.parametrize('told', ['', 'yesterday', '2126-01-01T00:00:00Z'])
def test_a_copy_of_no_age_is_counted_all_the_same(taken, proxy, told):
    task = proxy.lock(proxy.add('one', 'file'), 'east')
    task['created_at'] = told
    assert taken().copies['east', census.State.COPYING] == census.Copies(1)


def test_the_oldest_copy_is_what_counts(taken, proxy):
    for hour in (11, 9, 10):
        task = proxy.lock(proxy.add('one', 'file'), 'east')
        task['created_at'] = f'2026-01-02T{hour:02}:00:00Z'
    assert taken().copies['east', census.State.COPYING] == census.Copies(
        3, datetime.timedelta(hours=3)
    )


def test_a_copy_whose_task_is_not_shown_is_one_that_goes_on(taken, proxy):
    proxy.lock(proxy.add('one', 'file'), 'east')
    proxy.tasks_shown = False
    assert taken().copies['east', census.State.COPYING].count == 1


def test_what_else_holds_an_image_is_no_copy(taken, proxy):
    task = proxy.lock(proxy.add('one', 'file'), type='location_import')
    task['input'] = {}
    assert not any(some.count for some in taken().copies.values())


@pytest.mark.parametrize('held', [False, True])
def test_a_copy_that_failed_counts_until_the_next_one(taken, proxy, held):
    image_id = proxy.add('one', 'file', os_glance_failed_import='east')
    if held:
        proxy.lock(image_id, 'west')
    assert taken().copies['east', census.State.FAILED] == census.Copies(1)
    proxy.images[image_id]['stores'] = 'file,east'
    assert taken().copies['east', census.State.FAILED] == census.Copies()


RULES = wanted.parse(
    'version: 1\n'
    'rules:\n'
    '  - images: {tags: [golden], visibility: public}\n'
    '    stores: all\n'
    '  - images: {name: "debian-*", visibility: public}\n'
    '    stores: [west]\n',
    'f',
)


def test_images_that_rules_want_elsewhere_too_are_missing_there(taken, proxy):
    proxy.add('debian-12', 'east', size=3)
    proxy.add('golden', 'east', size=4, tags=['golden'])
    proxy.add('other', 'east', size=5)
    proxy.add('debian-13', 'west', size=6)
    assert taken(RULES).missing == {
        'file': census.Amount(1, 4),
        'east': census.Amount(),
        'west': census.Amount(2, 7),
    }


def test_nothing_is_missing_in_a_store_that_cannot_be_written_to(taken, proxy):
    proxy.add('golden', 'east', tags=['golden'])
    assert taken(RULES, writable=['east', 'west']).missing == {
        'east': census.Amount(),
        'west': census.Amount(1, 256 << 20),
    }


def test_an_image_without_data_is_missing_nowhere(taken, proxy):
    proxy.add('debian-12', status='queued')
    assert not taken(RULES).missing['west'].number
