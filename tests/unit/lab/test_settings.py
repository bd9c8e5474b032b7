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


import pytest

from lab import layout
from lab import settings


@pytest.fixture
def where(tmp_path):
    return layout.Layout(tmp_path)


def test_a_lab_has_no_parts_at_first(where):
    assert settings.Settings.load(where).parts == ()


def test_parts_are_remembered(where):
    chosen = settings.Settings().with_parts(['cinder'], [])
    chosen.save(where)
    assert settings.Settings.load(where) == chosen
    assert settings.Settings.load(where).cinder


def test_settings_of_a_lab_that_knew_no_parts_are_read(where):
    (where.root / 'settings.json').write_text('{"driver": "stock"}')
    assert settings.Settings.load(where) == settings.Settings('stock')


def test_a_part_is_kept_until_a_lab_is_to_do_without_it():
    with_cinder = settings.Settings().with_parts(['cinder'], [])
    assert with_cinder.with_parts([], []) == with_cinder
    assert not with_cinder.with_parts([], ['cinder']).cinder
