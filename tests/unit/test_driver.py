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

"""The driver: what it refuses, what it says, what it puts where."""

import logging

from nova import exception
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import imagebackend
import pytest

from nova_rbd_multistore import backend
from nova_rbd_multistore import driver
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import host

INTERVAL = 'images_rbd_glance_copy_poll_interval'
TIMEOUT = 'images_rbd_glance_copy_timeout'
STORE = 'images_rbd_glance_store_name'


@pytest.fixture
def libvirt(options, tmp_path):
    """The real driver, which has not talked to libvirt yet."""
    options.config(state_path=str(tmp_path))
    return driver.LibvirtDriver(None)


# The backend


def test_our_backend_is_where_nova_looks_for_rbd(libvirt):
    assert libvirt.image_backend.BACKEND['rbd'] is backend.Rbd
    assert libvirt.image_backend.backend() is backend.Rbd


def test_all_other_backends_are_novas(libvirt):
    stock = dict(imagebackend.Backend(use_cow=True).BACKEND)
    ours = dict(libvirt.image_backend.BACKEND)
    assert stock.pop('rbd') is imagebackend.Rbd
    assert ours.pop('rbd') is backend.Rbd
    assert ours == stock


def test_novas_own_driver_keeps_novas_backend(libvirt, options):
    del libvirt, options
    assert imagebackend.Backend(use_cow=True).BACKEND['rbd'] is (
        imagebackend.Rbd
    )


# What is refused at start


def test_the_defaults_of_nova_with_a_store_are_accepted(options):
    del options
    driver.check_configuration()


def test_no_store_is_accepted(options):
    options.config(group='libvirt', **{STORE: ''})
    driver.check_configuration()


@pytest.mark.parametrize('images_type', ['default', 'qcow2', 'flat', 'raw'])
def test_another_type_of_images_is_refused(options, images_type):
    options.config(group='libvirt', images_type=images_type)
    with pytest.raises(
        exception.InvalidConfiguration,
        match=f"images_type is '{images_type}'.* needs rbd",
    ):
        driver.check_configuration()


@pytest.mark.parametrize(
    'store', ['os_glance_staging_store', 'os_glance_tasks_store', 'os_glance_']
)
def test_a_store_of_glances_own_is_refused(options, store):
    options.config(group='libvirt', **{STORE: store})
    with pytest.raises(
        exception.InvalidConfiguration, match=f"{STORE} is '{store}'"
    ):
        driver.check_configuration()


@pytest.mark.parametrize('store', ['west,east', 'west\neast', 'we\u202est'])
def test_what_is_not_the_name_of_one_store_is_refused(options, store):
    options.config(group='libvirt', **{STORE: store})
    with pytest.raises(
        exception.InvalidConfiguration, match=f'{STORE} is .* on one line'
    ) as caught:
        driver.check_configuration()
    assert str(caught.value).isprintable()


def test_an_option_of_ours_that_cannot_work_is_refused(options):
    options.config(group='rbd_multistore', glance_rbd_pool='a\nb')
    with pytest.raises(
        exception.InvalidConfiguration, match='glance_rbd_pool is'
    ) as caught:
        driver.check_configuration()
    assert str(caught.value).isprintable()


def test_a_separate_identity_that_cannot_work_is_refused(options):
    options.config(group='rbd_multistore', auth_type='passwrod')
    with pytest.raises(
        exception.InvalidConfiguration,
        match=r'\[rbd_multistore\] auth_type .* passwrod',
    ):
        driver.check_configuration()


def test_a_store_with_a_name_like_glances_own_is_accepted(options):
    options.config(group='libvirt', **{STORE: 'my_os_glance_store'})
    driver.check_configuration()


@pytest.mark.parametrize('option', [INTERVAL, TIMEOUT])
@pytest.mark.parametrize('value', [0, -1])
def test_a_time_that_is_not_positive_is_refused(options, option, value):
    options.config(group='libvirt', **{option: value})
    with pytest.raises(
        exception.InvalidConfiguration, match=f'{option} is {value}'
    ):
        driver.check_configuration()


def test_the_driver_refuses_before_it_starts_anything(options):
    options.config(group='libvirt', images_type='qcow2')
    with pytest.raises(exception.InvalidConfiguration):
        driver.LibvirtDriver(None)


def test_the_one_host_is_made_before_any_boot(libvirt):
    # Boots that begin at once would each make one, and share no copy.
    assert host.this_host.cache_info().currsize == 1


# What is said at start


def lines(caplog, level):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == level
        and record.name.startswith('nova_rbd_multistore')
    ]


@pytest.fixture
def announced(this_host, caplog):
    caplog.set_level(logging.INFO)
    assert this_host

    def announce(level):
        driver.announce()
        return lines(caplog, level)

    return announce


def test_one_line_says_what_the_host_works_with(announced, options):
    options.config(group='service_user', send_service_user_token=True)
    (line,) = announced(logging.INFO)
    assert line.startswith('nova-rbd-multistore ')
    assert 'store west' in line
    assert 'pool vms' in line
    assert 'cluster fsid-west' in line
    assert line.endswith('service tokens sent')


def test_with_service_tokens_nothing_is_warned_of(announced, options):
    options.config(group='service_user', send_service_user_token=True)
    assert announced(logging.WARNING) == []


def test_without_service_tokens_a_warning_says_what_will_not_work(announced):
    (line,) = announced(logging.WARNING)
    assert 'send_service_user_token is False' in line
    assert 'fetch_image_location' in line
    assert 'copy_image' in line
    assert 'expires' in line


def test_without_a_store_the_line_says_so(announced, options):
    options.config(group='libvirt', **{STORE: ''})
    (line,) = announced(logging.INFO)
    assert 'store none (no copies are asked for)' in line


def test_a_cluster_away_at_start_is_a_warning(announced, cloud, options):
    options.config(group='service_user', send_service_user_token=True)
    cloud.west.away = True
    (line,) = announced(logging.WARNING)
    assert 'cannot be used' in line
    assert 'Boots fail until it answers' in line


def test_a_cluster_away_at_start_is_unknown(announced, cloud):
    cloud.west.away = True
    (line,) = announced(logging.INFO)
    assert 'cluster unknown' in line


@pytest.fixture
def started(monkeypatch):
    """The hosts on which Nova has done its part, which needs a hypervisor."""
    started = []
    monkeypatch.setattr(
        libvirt_driver.LibvirtDriver,
        'init_host',
        lambda _self, host: started.append(host),
    )
    return started


def test_several_regions_are_a_reason_not_to_start(
    libvirt, this_host, started, monkeypatch
):
    def check_region():
        raise exceptions.RegionAmbiguous(['RegionOne', 'RegionTwo'])

    monkeypatch.setattr(this_host.access, 'check_region', check_region)
    with pytest.raises(
        exception.InvalidConfiguration, match=r'set \[glance\] region_name'
    ):
        libvirt.init_host('west-1')
    # Whose threads would keep the process.
    assert started == []


def test_the_host_is_announced_when_nova_starts_the_driver(
    libvirt, announced, started
):
    libvirt.init_host('west-1')
    assert started == ['west-1']
    assert len(announced(logging.INFO)) == 2


# Seeding a store


def statuses(cloud):
    return [status for _, _, status in cloud.api.requests]


@pytest.mark.usefixtures('this_host')
def test_caching_an_image_copies_it_to_our_store(libvirt, cloud, context):
    image = cloud.api.add_image('file')
    assert libvirt.cache_image(context, image.id) is True
    assert 'west' in image.locations
    assert statuses(cloud) == [202]


@pytest.mark.usefixtures('this_host')
def test_an_image_in_our_store_is_cached_already(libvirt, cloud, context):
    image = cloud.api.add_image('file', 'west')
    assert libvirt.cache_image(context, image.id) is False
    assert statuses(cloud) == []


@pytest.mark.usefixtures('this_host')
def test_an_image_that_cannot_be_cloned_is_not_copied(libvirt, cloud, context):
    image = cloud.api.add_image('file', disk_format='qcow2')
    with pytest.raises(exceptions.NotRaw):
        libvirt.cache_image(context, image.id)
    assert statuses(cloud) == []


@pytest.mark.usefixtures('this_host')
def test_an_image_in_a_container_is_not_copied(libvirt, cloud, context):
    image = cloud.api.add_image('file', container_format='compressed')
    with pytest.raises(exceptions.NotBare):
        libvirt.cache_image(context, image.id)
    assert statuses(cloud) == []


@pytest.mark.usefixtures('this_host')
def test_an_image_of_foreign_data_is_not_copied(libvirt, cloud, context):
    image = cloud.api.add_image('file')
    image.locations['east'] = 'rbd://fsid-east/vms/disk-of-somebody-else/snap'
    with pytest.raises(exceptions.LocationRefused):
        libvirt.cache_image(context, image.id)
    assert statuses(cloud) == []


@pytest.mark.usefixtures('this_host')
def test_an_image_that_is_there_but_unfit_is_not_called_cached(
    libvirt, cloud, context
):
    image = cloud.api.add_image('file')
    image.locations['west'] = f'rbd://{image.id}'
    with pytest.raises(exceptions.OldLocation):
        libvirt.cache_image(context, image.id)
    assert statuses(cloud) == []


@pytest.mark.usefixtures('this_host')
def test_a_failed_copy_is_a_failure_to_cache(libvirt, cloud, context):
    image = cloud.api.add_image('file')
    cloud.api.failures += [('upload', 'disk full')] * 2
    with pytest.raises(exceptions.CopyFailed, match='disk full'):
        libvirt.cache_image(context, image.id)


@pytest.mark.usefixtures('this_host')
def test_without_a_store_images_are_cached_as_nova_does(
    libvirt, options, context, monkeypatch
):
    options.config(group='libvirt', **{STORE: ''})
    cached = []

    def cache_image(_self, _context, image_id):
        cached.append(image_id)
        return True

    monkeypatch.setattr(
        libvirt_driver.LibvirtDriver, 'cache_image', cache_image
    )
    assert libvirt.cache_image(context, 'an-id') is True
    assert cached == ['an-id']
