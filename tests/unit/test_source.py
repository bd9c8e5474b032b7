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

"""What may be cloned, and what is refused."""

import logging

import pytest

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image
from nova_rbd_multistore import location
from nova_rbd_multistore import source

OURS = 'fsid-of-west'
IMAGE = image.ImageRecord(
    id='an-id', status='active', owner='mallory', disk_format='raw'
)
BARE = {'disk_format': 'raw', 'container_format': 'bare'}
OWN = f'rbd://{OURS}/images/an-id/snap'
FOREIGN = f'rbd://{OURS}/vms/disk-of-somebody-else/snap'


def at(*urls, store=None):
    return [image.ImageLocation(url, store) for url in urls]


def sources(*urls, others=(), trusted=(), store=None):
    pools = source.Pools('images', others, trusted)
    return source.local_sources(IMAGE, at(*urls, store=store), OURS, pools)


def with_(**fields):
    return image.ImageRecord(**{'id': 'an-id', 'status': 'active', **fields})


@pytest.mark.parametrize('disk_format', ['raw', 'iso'])
def test_an_active_image_of_plain_bytes_passes(disk_format):
    source.require_cloneable(with_(**{**BARE, 'disk_format': disk_format}))


def test_any_other_format_is_refused_and_named():
    with pytest.raises(exceptions.NotRaw, match='qcow2'):
        source.require_cloneable(with_(disk_format='qcow2'))


@pytest.mark.parametrize(
    'container_format', ['compressed', 'ova', 'ovf', 'docker', 'ami', 'aki']
)
def test_a_disk_in_a_container_is_refused_and_the_container_named(
    container_format,
):
    with pytest.raises(exceptions.NotBare, match=container_format):
        source.require_cloneable(
            with_(**{**BARE, 'container_format': container_format})
        )


def test_an_image_of_no_container_format_is_refused():
    # Glance lets none become active.
    with pytest.raises(exceptions.NotBare, match='no container format'):
        source.require_cloneable(with_(disk_format='raw'))


def test_an_image_that_is_not_active_is_refused_and_its_status_named():
    with pytest.raises(exceptions.NotActive, match='deactivated'):
        source.require_cloneable(
            with_(status='deactivated', disk_format='qcow2')
        )


def require_copied(admitted, **fields):
    source.require_copied_on_demand(with_(**fields), 'west', 'demo', admitted)


@pytest.mark.parametrize(
    ('whose', 'fields'),
    [
        ('own', {'owner': 'demo', 'visibility': 'private'}),
        ('own', {'owner': 'demo', 'visibility': 'community'}),
        ('public', {'owner': 'mallory', 'visibility': 'public'}),
        ('shared', {'owner': 'mallory', 'visibility': 'shared'}),
        ('community', {'owner': 'mallory', 'visibility': 'community'}),
    ],
)
def test_images_are_copied_on_demand_if_such_are_admitted(whose, fields):
    every = {'own', 'public', 'shared', 'community'}
    require_copied([whose], **fields)
    with pytest.raises(exceptions.NotCopiedOnDemand):
        require_copied(every - {whose}, **fields)


def test_another_projects_private_image_is_an_administrators_to_copy():
    require_copied([], owner='mallory', visibility='private')


def test_what_glance_does_not_tell_admits_nothing():
    with pytest.raises(exceptions.NotCopiedOnDemand):
        require_copied(['own', 'public'])


def test_a_location_in_our_cluster_is_a_source():
    assert sources(OWN) == [
        location.RbdLocation(OURS, 'images', 'an-id', 'snap')
    ]


def test_sources_keep_glances_order():
    second = f'rbd://{OURS}/more-images/an-id/snap'
    found = sources(second, OWN, others=[f'{OURS}/more-images'])
    assert [each.pool for each in found] == ['more-images', 'images']


@pytest.mark.parametrize(
    'url',
    [
        'rbd://fsid-of-east/images/an-id/snap',
        f'rbd://{OURS}0/images/an-id/snap',
        'file:///var/lib/glance/images/an-id',
        'cinder://fast/a-volume',
    ],
)
def test_data_elsewhere_is_no_source(url):
    assert sources(url) == []


@pytest.mark.parametrize('url', ['nonsense', 'cinder://a/b/c'])
def test_a_malformed_location_is_ignored_and_logged(url, caplog):
    assert [found.pool for found in sources(url, OWN)] == ['images']
    (entry,) = caplog.records
    assert entry.levelno == logging.WARNING
    assert 'an-id' in entry.getMessage()


@pytest.mark.parametrize('urls', [[FOREIGN], [OWN, FOREIGN], [FOREIGN, OWN]])
def test_one_location_under_a_foreign_name_refuses_the_image(urls):
    with pytest.raises(exceptions.LocationRefused):
        sources(*urls)


@pytest.mark.parametrize(
    'url', [f'{OWN}/more', f'{FOREIGN}%00', f'{OWN}\ud800', 'rbd://a/b']
)
def test_a_malformed_rbd_location_refuses_the_image(url):
    # Where we see nothing, Glance or librbd may see a foreign image.
    with pytest.raises(exceptions.LocationRefused):
        sources(OWN, url)


def test_an_old_location_in_whichever_pool_of_glances_must_be_the_images_own():
    assert [found.pool for found in sources('rbd://an-id', OWN)] == ['images']
    with pytest.raises(exceptions.LocationRefused):
        sources(OWN, 'rbd://id-of-a-private-image')


def test_data_in_a_store_of_glances_own_is_no_source(caplog):
    assert sources(OWN, store='os_glance_staging_store') == []
    (entry,) = caplog.records
    assert entry.levelno == logging.WARNING
    assert entry.getMessage().startswith(
        'Image an-id of project mallory claims to be in '
        'os_glance_staging_store'
    )


def test_a_store_of_glances_own_hides_no_foreign_name():
    with pytest.raises(exceptions.LocationRefused):
        sources(FOREIGN, store='os_glance_staging_store')


def test_a_record_that_claims_a_store_of_glances_own_is_reported(caplog):
    record = with_(reserved=frozenset({'os_glance_\ntasks'}))
    pools = source.Pools('images')
    assert source.local_sources(record, at(OWN), OURS, pools)
    (entry,) = caplog.records
    assert 'claims to be in os_glance_ tasks, a name' in entry.getMessage()


@pytest.mark.parametrize(
    'name', ['an-id2', 'AN-ID', 'an-id_disk', 'an-i', '%61n-id%20']
)
def test_a_name_that_only_looks_like_the_images_is_foreign(name):
    with pytest.raises(exceptions.LocationRefused):
        sources(f'rbd://{OURS}/images/{name}/snap')


@pytest.mark.parametrize('fsid', [OURS, 'fsid-of-east'])
@pytest.mark.parametrize(
    'where',
    [
        # Volumes that are named by bare ids, and a second Glance.
        'volumes/an-id/snap',
        'vms/an-id/snap',
        'images2/an-id/snap',
        'images/an-id/backup',
        'images/an-id/snap2',
        'images%2F/an-id/snap',
    ],
)
def test_its_own_name_alone_makes_no_data_an_images_own(fsid, where, caplog):
    with pytest.raises(exceptions.LocationRefused):
        sources(OWN, f'rbd://{fsid}/{where}')
    assert 'in pool images or another of' in caplog.text


def test_the_pool_of_another_store_of_glances_is_named_with_its_cluster():
    east = 'rbd://fsid-of-east/dcn/an-id/snap'
    assert sources(east, OWN, others=['fsid-of-east/dcn']) == sources(OWN)
    for others in ['fsid-of-east/dcn2'], [f'{OURS}/dcn'], ['dcn']:
        with pytest.raises(exceptions.LocationRefused):
            sources(east, OWN, others=others)


def test_in_such_a_pool_an_image_has_its_own_name_too():
    with pytest.raises(exceptions.LocationRefused):
        sources(f'rbd://{OURS}/dcn/another/snap', others=[f'{OURS}/dcn'])


def test_the_log_tells_the_operator_what_was_pointed_at(caplog):
    with pytest.raises(exceptions.LocationRefused) as caught:
        sources(f'rbd://{OURS}/vms/a%0Adisk/snap')
    line = caplog.messages[-1]
    assert 'a disk' in line
    assert 'vms' in line
    assert 'mallory' in line
    assert '\n' not in line
    assert 'vms' not in str(caught.value)


def test_a_foreign_name_in_another_cluster_would_be_copied_here():
    with pytest.raises(exceptions.LocationRefused):
        sources('rbd://fsid-of-east/vms/whatever/snap')


def test_a_trusted_pool_admits_any_name():
    shared = f'rbd://{OURS}/golden/debian-12/2026-11'
    found = sources(shared, trusted=[f'{OURS}/golden'])
    assert [each.image for each in found] == ['debian-12']


def test_trust_in_one_pool_does_not_spread():
    trusted = [f'{OURS}/golden', f'{OURS}/vms2', 'fsid-of-east/vms', 'vms']
    with pytest.raises(exceptions.LocationRefused):
        sources(FOREIGN, trusted=trusted)


def located(*entries):
    return [image.ImageLocation(url, store) for url, store in entries]


def test_the_clusters_of_a_store_are_those_of_its_rbd_locations():
    east = 'rbd://east/images/an-id/snap'
    locations = located(
        (OWN, 'west'),
        (east, 'west'),
        ('rbd://elsewhere/images/an-id/snap', 'east'),
        ('file:///x', 'west'),
        ('rbd://x', 'west'),
        ('', 'west'),
    )
    assert source.clusters(locations, 'west') == {OURS, 'east'}
    assert source.clusters(locations, 'file') == frozenset()


OLD = 'rbd://an-id'


@pytest.mark.parametrize(
    'entries',
    [
        [(OLD, 'west')],
        [(OLD, 'west'), ('file:///x', 'file')],
        [('cinder://a/b/c', 'east'), (OLD, 'west')],
        # That may be ours.
        [(OLD, None)],
        [(OLD, None), ('file:///x', 'file')],
    ],
)
def test_an_old_location_of_our_store_is_found(entries):
    assert source.has_old_form(located(*entries), 'west')


@pytest.mark.parametrize(
    'entries',
    [
        [],
        [(OWN, 'west')],
        [(OLD, 'east')],
        [('file:///x', None)],
    ],
)
def test_an_old_location_of_another_store_is_not_ours(entries):
    assert not source.has_old_form(located(*entries), 'west')


def test_without_a_store_any_old_location_counts():
    assert source.has_old_form(located((OLD, 'east')), '')
