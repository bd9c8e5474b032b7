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

"""Nova's own tests of its RBD backend, run on ours.

What ours changes on purpose is listed below, test by test, with the reason.
A listed test that passes fails here, so that the list stays true.
"""

import unittest
from unittest import mock

import fixtures
from nova.compute import task_states
from nova.compute import vm_states
from nova.storage import rbd_utils
from nova.virt.libvirt import imagebackend
import pytest

from nova_rbd_multistore import backend
from nova_rbd_multistore import ceph
from nova_rbd_multistore import disks
from nova_rbd_multistore import host
from tests.fakes import novas_tests

# Nova's test module names the class in decorators, so when it is imported,
# and in its setUp, so when it runs: ours has to be in its place both times.
with mock.patch.object(imagebackend, 'Rbd', backend.Rbd):
    from nova.tests.unit.virt.libvirt import test_imagebackend

# Ours asks Glance itself, as Nova does not see locations with Glance's secure
# defaults, and clones over a connection of its own. The same cases are in
# tests/unit/test_backend.py.
_OWN_CLONE = "fakes Nova's IMAGE_API and RBDDriver, which ours does not ask"

# A disk from a file has its name when it is whole, and the program that makes
# it has limits. So in tests/unit/test_disks.py.
_OWN_IMPORT = 'expects the very command line of "rbd import"'

DIFFERENT = {
    'test_clone_copy_not_configured': _OWN_CLONE,
    'test_clone_copy_to_store': _OWN_CLONE,
    'test_clone_copy_to_store_failed': _OWN_CLONE,
    'test_clone_without_needed_copy': _OWN_CLONE,
    'test_create_image': _OWN_IMPORT,
    'test_create_image_resize': _OWN_IMPORT,
    'test_import_file_not_found': _OWN_IMPORT,
}


class RbdTestCase(test_imagebackend.RbdTestCase):
    # Not collected by pytest, which would set attributes on it and miss them
    # later: Nova's test cases forget all their attributes when they end.
    __test__ = False

    def setUp(self):
        self.useFixture(
            fixtures.MockPatchObject(imagebackend, 'Rbd', backend.Rbd)
        )
        # Where the tests put the addresses of the monitors.
        self.useFixture(
            fixtures.MockPatchObject(
                disks.RBDDriver,
                'get_mon_addrs',
                lambda _self, *args, **kwargs: (
                    rbd_utils.RBDDriver.get_mon_addrs(*args, **kwargs)
                ),
            )
        )
        # Before a direct snapshot, ours asks its cluster for the right to it.
        self.useFixture(
            fixtures.MockPatchObject(ceph.Cluster, 'check_new_disks')
        )
        # Made from the options that each test sets.
        self.addCleanup(host.this_host.cache_clear)
        super().setUp()
        # As each server of Nova's has them; ours looks whether it is shelved,
        # rebuilt or rescued.
        self.INSTANCE.vm_state = vm_states.BUILDING
        self.INSTANCE.task_state = task_states.SPAWNING
        # There is no Glance: asking again only takes time.
        self.flags(num_retries=0, group='glance')


NAMES = unittest.defaultTestLoader.getTestCaseNames(RbdTestCase)


@pytest.mark.parametrize('name', NAMES)
def test_rbd(name, request):
    if name in DIFFERENT:
        request.applymarker(pytest.mark.xfail(reason=DIFFERENT[name]))
    result = unittest.TestResult()
    RbdTestCase(name).run(result)
    novas_tests.tell(result)


def test_listed_tests_exist():
    assert DIFFERENT.keys() <= set(NAMES)
