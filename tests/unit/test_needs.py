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

"""What a question needs of an endpoint."""

import pytest

from nova_rbd_multistore import needs as need_values


@pytest.mark.parametrize(
    ('needed', 'lacking'),
    [
        (need_values.NOTHING, ''),
        (need_values.Needs('west'), ''),
        (need_values.Needs('north'), 'no store north'),
        (need_values.Needs('west', frozenset({'file', 'south'})), ''),
        (
            need_values.Needs('west', frozenset({'south', 'east'})),
            'none of the stores east, south',
        ),
        (need_values.Needs('north', frozenset({'east'})), 'no store north'),
    ],
)
def test_what_an_endpoint_lacks_is_a_store_or_all_sources(needed, lacking):
    assert needed.lacking({'file', 'west'}) == lacking


def test_many_sources_that_an_endpoint_lacks_are_a_line_of_the_log():
    sources = frozenset(f'store\n{number}' for number in range(1000))
    said = need_values.Needs('west', sources).lacking({'west'})
    assert said.isprintable()
    assert len(said) <= 400
