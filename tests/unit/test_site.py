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

"""A host's site goes through Nova's statistics as it is."""

import pytest

from nova_rbd_multistore import site


@pytest.mark.parametrize(
    'name', ['west', 'West', 'we-st', 'we_st', 'site.west', 'wést', 'we st']
)
def test_a_store_keeps_its_name(name):
    told = site.Site('fsid-west', name)
    assert site.Site.from_stats(told.to_stats()) == told


def test_no_two_sites_are_told_alike():
    names = ['we-st', 'we_st', 'WE-ST', 'we.st']
    told = {tuple(site.Site('', name).to_stats().items()) for name in names}
    assert len(told) == len(names)


def test_a_host_without_a_store_has_a_cluster():
    told = site.Site('fsid-west', '').to_stats()
    assert site.Site.from_stats(told) == site.Site('fsid-west')


@pytest.mark.parametrize(
    'stats',
    [
        {},
        {'num_instances': '3'},
        {'rbd_multistore_cluster': None, 'rbd_multistore_store': None},
    ],
)
def test_a_host_that_tells_nothing_is_of_no_site(stats):
    assert site.Site.from_stats(stats) == site.Site('', '')
