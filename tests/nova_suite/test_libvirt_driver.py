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

"""Nova's own tests of its libvirt driver, run on ours.

What ours changes on purpose is listed below, test by test, with the reason.
A listed test that passes fails here, so that the list stays true.
"""

import contextlib
import unittest
from unittest import mock

import nova.conf
from nova.image import glance as nova_glance
from nova.storage import rbd_utils
import nova.virt.libvirt
from nova.virt.libvirt import driver as libvirt_driver
import pytest
import rados
import rbd

from nova_rbd_multistore import access
from nova_rbd_multistore import disks
from nova_rbd_multistore import driver
from nova_rbd_multistore import host
from nova_rbd_multistore import moves
from nova_rbd_multistore import snapshots
from tests.fakes import librados
from tests.fakes import novas_tests

#: Ours, with Nova's static methods as its own: a test that replaces one by
#: fixtures.MonkeyPatch would make a method of one that was inherited.
OURS = type(
    'LibvirtDriver',
    (driver.LibvirtDriver,),
    {
        name: value
        for name, value in vars(libvirt_driver.LibvirtDriver).items()
        if isinstance(value, staticmethod)
        and name not in vars(driver.LibvirtDriver)
    },
)


@contextlib.contextmanager
def ours():
    """Our driver, in each place where Nova's tests look for Nova's."""
    with (
        mock.patch.object(libvirt_driver, 'LibvirtDriver', OURS),
        mock.patch.object(nova.virt.libvirt, 'LibvirtDriver', OURS),
    ):
        yield


# Nova's test module names the class in decorators, so when it is imported,
# and in its tests, so when it runs: ours has to be in its place both times.
with ours():
    from nova.tests.unit.virt.libvirt import test_driver

DIFFERENT = {
    # The same cases are in tests/unit/test_backend.py.
    'LibvirtDriverTestCase.test_create_fetch_image_ceph_workaround': (
        "fakes Nova's IMAGE_API, which ours does not ask: Nova does not see "
        "locations with Glance's secure defaults"
    ),
    # That ours adds no name is in tests/unit/test_driver.py.
    'LibvirtConnTestCase.test_public_api_signatures': (
        'wants the very arguments of one release of Nova, where ours passes '
        'on what each of several gives'
    ),
}

CASES = {
    case.id().removeprefix(f'{test_driver.__name__}.'): case
    for suite in unittest.defaultTestLoader.loadTestsFromModule(test_driver)
    for case in suite
}

NOVAS_RBD_DRIVER = rbd_utils.RBDDriver
OUR_RBD_DRIVER = disks.RBDDriver


def rbd_driver(cluster):
    """Ours, unless the test has put a fake in the place of Nova's."""
    if isinstance(rbd_utils.RBDDriver, mock.NonCallableMock):
        return rbd_utils.RBDDriver()
    return OUR_RBD_DRIVER(cluster)


def take_the_place_of_novas(cluster):
    """Unless the test has put a fake there; by a class, as tests need one."""

    def make(self, *_args, **_kwargs):
        OUR_RBD_DRIVER.__init__(self, cluster)

    if rbd_utils.RBDDriver is NOVAS_RBD_DRIVER:
        rbd_utils.RBDDriver = type(
            'RBDDriver', (OUR_RBD_DRIVER,), {'__init__': make}
        )


def mon_addrs(_self, *args, **kwargs):
    """From where the tests put them."""
    return NOVAS_RBD_DRIVER.get_mon_addrs(*args, **kwargs)


@pytest.fixture
def fakes():
    """What our driver has below it, and Nova's has not."""
    # Ours asks the cluster for its fsid when a host starts, as in 24 of these
    # tests; and the backend of a disk connects to it.
    library = librados.Librados()
    library.pools[nova.conf.CONF.libvirt.images_rbd_pool] = {}
    # That the parents of disks are in, in tests of snapshots.
    library.pools['test-pool'] = {}
    replaced = [
        (rados, 'Rados', library.Rados),
        (rbd, 'RBD', library.RBD),
        (rbd, 'Image', library.Image),
        (rbd_utils, 'RBDDriver', NOVAS_RBD_DRIVER),
        (disks, 'RBDDriver', rbd_driver),
        (disks, 'take_the_place_of_novas', take_the_place_of_novas),
        (OUR_RBD_DRIVER, 'get_mon_addrs', mon_addrs),
        # Most tests are of other images_types than rbd, which ours refuses;
        # what it refuses is in tests/unit/test_driver.py.
        (driver, 'check_configuration', lambda: None),
        # Some tests have a fake in the place of what it reads policies with.
        (access, 'refuse_novas_redirects', lambda: None),
        # Uploads go by a client of ours, which has no fake in these tests; and
        # what becomes of them is asked of Glance. tests/unit/test_snapshots.py
        # has all of it.
        (snapshots.Images, 'update', nova_glance.API.update),
        (snapshots, 'require_whole', lambda *_: None),
        (snapshots, 'copy_on', lambda *_: None),
        # These servers are in no database; tests/unit/test_moves.py has some.
        (moves, 'check_arrival', lambda _: None),
        (moves, 'check_live_arrival', lambda _: None),
        (moves, 'check_departure', lambda _: None),
        (moves, 'goes_on_with_its_disk', lambda _: True),
        (moves, 'needs_cluster', lambda _: False),
        (moves, 'make_way', lambda *_: None),
        (moves, 'migration_of', lambda _: None),
        (moves, 'clean_up_after', lambda *_: None),
    ]
    with contextlib.ExitStack() as stack:
        for module, name, fake in replaced:
            stack.enter_context(mock.patch.object(module, name, fake))
        # Made from the options that each test sets.
        stack.callback(host.this_host.cache_clear)
        yield


@pytest.mark.parametrize('name', CASES)
def test_driver(name, fakes, request):
    if name in DIFFERENT:
        request.applymarker(pytest.mark.xfail(reason=DIFFERENT[name]))
    result = unittest.TestResult()
    with ours():
        CASES[name].run(result)
    novas_tests.tell(result)


def test_listed_tests_exist():
    assert DIFFERENT.keys() <= CASES.keys()
