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

"""What this host lacks is said before a boot meets it."""

import pytest

from nova_rbd_multistore import ceph
from nova_rbd_multistore import grade
from nova_rbd_multistore import host_readiness
from nova_rbd_multistore import pace
from nova_rbd_multistore import surroundings

GIB = 1 << 30
LIMITS = pace.Limits(
    poll_interval=15, probe_interval=0.5, timeout=600, stall_timeout=300
)


@pytest.fixture
def all_there(monkeypatch):
    """Sets what is not there."""

    def lack(rbd=True, qemu='', librbd=(1, 16, 0)):
        monkeypatch.setattr(surroundings, 'has_program_rbd', lambda: rbd)
        monkeypatch.setattr(
            surroundings, 'why_qemu_img_lacks_rbd', lambda: qemu
        )
        monkeypatch.setattr(ceph, 'librbd_version', lambda: librbd)

    lack()
    return lack


def time_outs(size, osd=60, **changes):
    limits = pace.Limits(**{**vars_of(LIMITS), **changes})
    return host_readiness.time_outs(size, limits, osd)


def vars_of(limits):
    return {
        name: getattr(limits, name)
        for name in ('poll_interval', 'probe_interval', 'timeout')
    } | {'stall_timeout': limits.stall_timeout}


@pytest.mark.usefixtures('options')
def test_options_that_work_are_well():
    result = host_readiness.options('rbd_multistore.LibvirtDriver')
    assert result.code is grade.Code.SUCCESS


def test_an_option_that_cannot_work_is_named(options):
    options.config(group='libvirt', images_type='qcow2')
    result = host_readiness.options('rbd_multistore.LibvirtDriver')
    assert result.code is grade.Code.FAILURE
    assert "images_type is 'qcow2'" in result.details


@pytest.mark.usefixtures('options')
@pytest.mark.parametrize('driver', ['libvirt.LibvirtDriver', None])
def test_a_host_on_another_driver_is_noticed(driver):
    result = host_readiness.options(driver)
    assert result.code is grade.Code.WARNING
    assert f'compute_driver is {driver!r}' in result.details


@pytest.mark.usefixtures('all_there')
def test_programs_that_are_there_are_well():
    result = host_readiness.programs()
    assert result.code is grade.Code.SUCCESS
    assert '1.16.0' in result.details


@pytest.mark.parametrize(
    ('lack', 'code', 'said'),
    [
        ({'rbd': False}, grade.Code.FAILURE, 'ceph-common'),
        ({'qemu': 'no protocol'}, grade.Code.FAILURE, 'qemu-block-extra'),
        ({'librbd': (1, 15, 0)}, grade.Code.WARNING, 'librbd 1.15.0'),
    ],
)
def test_a_program_that_is_not_there_is_named(all_there, lack, code, said):
    all_there(**lack)
    result = host_readiness.programs()
    assert result.code is code
    assert said in result.details


@pytest.mark.parametrize(
    'version', ['31.0.0', '32.2.1', '33.2.1', '34.0.0.dev7']
)
def test_a_release_of_nova_that_was_tested_is_well(version):
    assert host_readiness.nova(version).code is grade.Code.SUCCESS


@pytest.mark.parametrize('version', ['30.1.0', '35.0.0', 'unknown'])
def test_another_is_noticed(version):
    result = host_readiness.nova(version)
    assert result.code is grade.Code.WARNING
    assert '31, 32, 33, 34' in result.details


def test_by_default_it_is_the_nova_of_this_environment():
    assert host_readiness.nova().code is grade.Code.SUCCESS


def test_an_image_that_is_copied_in_time_is_well():
    result = time_outs(20 * GIB)
    assert result.code is grade.Code.SUCCESS
    # As in the table of doc/source/sizing.rst.
    assert 'staged in 191 s and copied in 232 s' in result.details


def test_a_staging_longer_than_the_stall_time_out_is_noticed():
    result = time_outs(40 * GIB)
    assert result.code is grade.Code.WARNING
    assert 'copy_stall_timeout is 300 s' in result.details
    assert '382 s' in result.details


def test_a_copy_longer_than_its_time_out_is_noticed():
    result = time_outs(20 * GIB, timeout=200)
    assert result.code is grade.Code.WARNING
    assert 'images_rbd_glance_copy_timeout is 200 s' in result.details


def test_the_room_for_staging_is_told():
    assert '20.0 GiB in the staging directory' in time_outs(20 * GIB).details


def test_without_an_image_nothing_takes_too_long():
    assert time_outs(None).code is grade.Code.SUCCESS


def test_an_osd_s_time_out_that_is_shorter_than_a_failover_is_noticed():
    result = time_outs(None, osd=30)
    assert result.code is grade.Code.WARNING
    assert 'rados_osd_op_timeout is 30 s' in result.details


def test_an_interval_as_long_as_the_time_out_is_noticed():
    result = time_outs(GIB, poll_interval=600)
    assert result.code is grade.Code.WARNING
    assert 'copy_poll_interval is 600 s' in result.details
