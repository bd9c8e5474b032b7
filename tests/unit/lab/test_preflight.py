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
"""What has to be true before clusters get their daemons."""

import pytest

from lab import errors
from lab import layout
from lab import preflight
from lab import settings

MACHINES = settings.Settings()
CEPH_20 = settings.Settings(ceph='20')


@pytest.fixture
def where(tmp_path):
    where = layout.Layout(tmp_path)
    where.done.mkdir()
    return where


def test_new_clusters_may_be_of_any_ceph(where):
    preflight.clusters(where, MACHINES, CEPH_20)


def test_clusters_stay_with_the_ceph_that_made_them(where):
    (where.done / 'ceph-mon-east').touch()

    preflight.clusters(where, CEPH_20, CEPH_20)
    with pytest.raises(errors.NotPossible, match='tools/lab destroy first'):
        preflight.clusters(where, CEPH_20, MACHINES)
