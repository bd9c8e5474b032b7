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

"""One region's Glance, and never another's."""

import logging

from keystoneauth1.access import service_catalog
import pytest

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import regions

ONE = ('internal', 'http://one', 'RegionOne')
TWO = ('internal', 'http://two', 'RegionTwo')


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO)
    return caplog


@pytest.fixture
def region():
    """None is configured."""
    return region_of(None)


def region_of(configured):
    return regions.Region(configured, 'image', ['internal', 'public'])


def urls(region, *endpoints, whole=True):
    """What is asked by a catalog: interface, URL and region of each."""
    catalog = service_catalog.ServiceCatalogV3(
        [
            {
                'type': 'image',
                'endpoints': [
                    {'interface': interface, 'url': url, 'region': name}
                    for interface, url, name in endpoints
                ],
            }
        ]
    )
    return region.urls(catalog, whole=whole)


@pytest.mark.parametrize('configured', [None, '', 'RegionOne'])
def test_the_only_region_is_taken_with_all_its_endpoints(configured):
    other = ('internal', 'http://other', 'RegionOne')
    assert urls(region_of(configured), ONE, other) == [
        'http://one',
        'http://other',
    ]


@pytest.mark.parametrize('configured', ['RegionOne', 'RegionTwo'])
def test_of_several_regions_the_configured_one_is_taken(configured):
    wanted = {'RegionOne': 'http://one', 'RegionTwo': 'http://two'}
    assert urls(region_of(configured), ONE, TWO) == [wanted[configured]]


@pytest.mark.parametrize('whole', [True, False])
def test_of_several_regions_none_is_guessed(region, whole):
    with pytest.raises(
        exceptions.RegionAmbiguous,
        match=r'\(RegionOne, RegionTwo\).*set \[glance\] region_name',
    ):
        urls(region, TWO, ONE, whole=whole)


def test_another_region_with_a_less_wanted_interface_is_one_too(region):
    # The host may be that region's, and its Glance have no other.
    public = ('public', 'http://two', 'RegionTwo')
    with pytest.raises(exceptions.RegionAmbiguous):
        urls(region, ONE, public)


def test_another_region_with_other_interfaces_alone_does_not_matter(region):
    assert urls(region, ONE, ('admin', 'http://two', 'RegionTwo')) == [
        'http://one'
    ]


@pytest.mark.parametrize('configured', [None, 'RegionOne'])
def test_the_preferred_interface_that_a_region_has_is_taken(configured):
    public = ('public', 'http://public', 'RegionOne')
    assert urls(region_of(configured), public) == ['http://public']
    assert urls(region_of(configured), public, ONE) == ['http://one']


def test_an_interface_that_only_another_region_has_does_not_count():
    public = ('public', 'http://public', 'RegionOne')
    assert urls(region_of('RegionOne'), TWO, public) == ['http://public']


def test_a_configured_region_that_is_not_there_has_no_endpoint():
    assert urls(region_of('RegionTwo'), ONE) == []


def test_without_any_glance_there_is_no_endpoint(region):
    assert urls(region) == []
    assert urls(region, ONE) == ['http://one']


@pytest.mark.parametrize('name', [None, ''])
def test_endpoints_may_be_in_no_region(region, log, name):
    assert urls(region, ('internal', 'http://one', name)) == ['http://one']
    assert 'of region without a name' in log.messages[0]


def test_a_region_that_comes_later_takes_no_host_away(region):
    urls(region, ONE)
    assert urls(region, ONE, TWO) == ['http://one']


def test_a_region_that_is_renamed_is_followed(region):
    urls(region, ONE)
    assert urls(region, TWO) == ['http://two']
    assert urls(region, ONE, TWO) == ['http://two']


def test_a_users_catalog_does_not_lead_to_another_region(region):
    urls(region, ONE)
    assert urls(region, TWO, whole=False) == []
    assert urls(region, TWO, ONE, whole=False) == ['http://one']


def test_what_one_users_catalog_shows_is_not_remembered(region):
    # It may be filtered for their project.
    assert urls(region, TWO, whole=False) == ['http://two']
    assert urls(region, ONE) == ['http://one']


def test_the_region_is_logged_once(region, log):
    for _ in range(3):
        urls(region, ONE)
    assert log.messages == [
        'Asking the glance-apis of region RegionOne (the only one in the '
        'catalog that has Glance)'
    ]


def test_a_configured_region_is_logged_as_such(log):
    urls(region_of('RegionTwo'), ONE, TWO)
    assert log.messages == [
        'Asking the glance-apis of region RegionTwo ([glance] region_name)'
    ]


def test_a_name_of_a_region_is_made_fit_for_the_log(region, log):
    urls(region, ('internal', 'http://one', 'a\nregion\x1b'))
    assert log.messages[0].isprintable()
