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

"""nova-rbd-multistore-status says what boots would meet, and changes nothing.

Each thing that it looks at is broken once.
"""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

from oslo_upgradecheck import upgradecheck
import pytest

from lab import cloud
from tests.rig import hosts

SUCCESS, WARNING, FAILURE = upgradecheck.Code

RIGHTS = 'profile rbd pool=vms, profile rbd-read-only pool=images'

#: An environment with nobody in it.
NOBODY = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith('OS_')
}


#: What Ceph's libraries write there of errors that they meet.
CEPHS_OWN = re.compile(r'^\S+ [0-9a-f]+ -1 (monclient|librbd).*\n', re.M)


@pytest.fixture
def check(computes, tmp_path):
    """Runs the program with a compute's nova.conf, and options that differ.

    Gives what it ended with, and what it said of each thing.
    """

    def run(*, environment=NOBODY, **options):
        path = tmp_path / 'options.conf'
        hosts.write_options(
            path,
            {
                name.replace('__', '.'): value
                for name, value in options.items()
            },
        )
        ended = subprocess.run(
            [
                *(sys.executable, '-m', 'nova_rbd_multistore.status'),
                f'--config-file={computes["west-1"].nova_conf}',
                f'--config-file={path}',
                *('upgrade', 'check', '--json'),
            ],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert not CEPHS_OWN.sub('', ended.stderr)
        said = {
            each['check']: (each['result'], each['details'])
            for each in json.loads(ended.stdout)['checks']
        }
        assert ended.returncode == max(code for code, _ in said.values())
        return said

    return run


@pytest.fixture
def as_demo(where):
    """The environment of user demo, as OpenStackClient reads it."""
    account = dataclasses.asdict(cloud.account('demo', where))
    return NOBODY | {
        f'OS_{name.upper()}': value for name, value in account.items()
    }


@pytest.fixture
def check_as_ceph_user(check, make_ceph_user):
    """The same with a cephx user who may do what it is told."""

    def run(*caps, **options):
        name, conf = make_ceph_user(*caps, **options)
        return check(
            libvirt__images_rbd_ceph_conf=conf, libvirt__rbd_user=name
        )

    return run


@pytest.fixture
def public_image(upload, admin):
    """An image in west that everybody may boot."""
    return upload(store='west', owner=admin, visibility='public')


def test_a_host_as_documented_is_ready(check, public_image):
    said = check()

    code, details = said.pop('Clones')
    assert (code, 'version 1' in details) == (WARNING, True)
    code, details = said.pop('Policy add_image_location')
    assert (code, 'Not checked' in details) == (WARNING, True)
    for name, (code, details) in said.items():
        assert code == SUCCESS, f'{name}: {details}'


def test_an_ordinary_user_s_environment_tells_of_all_three_policies(
    check, as_demo, upload, begin_image
):
    upload(store='west')
    begin_image()

    said = check(environment=as_demo)

    for policy in ('copy_image', 'fetch_image_location', 'add_image_location'):
        code, details = said[f'Policy {policy}']
        assert code == SUCCESS, details
        assert 'user demo with the service token' in details
    assert said['Store and cluster'][0] == SUCCESS


def test_it_changes_nothing(
    check, as_demo, upload, begin_image, admin, west, copy_tasks
):
    image, empty = upload(store='west').id, begin_image()
    state = [west.images('vms'), west.images('images')]
    records = [
        admin.image.get(f'/images/{each}').text for each in (image, empty)
    ]

    check(environment=as_demo)
    check()

    assert copy_tasks(image) == []
    assert [west.images('vms'), west.images('images')] == state
    assert records == [
        admin.image.get(f'/images/{each}').text for each in (image, empty)
    ]


@pytest.mark.long
def test_nova_compute_need_not_run(check, public_image, stop):
    stop('compute-west-1')

    said = check()

    assert said['Store and cluster'][0] == SUCCESS


def test_an_option_that_nova_compute_would_refuse_is_named(check):
    code, details = check(libvirt__images_type='qcow2')['Options']

    assert code == FAILURE
    assert "images_type is 'qcow2'" in details


@pytest.mark.long
def test_another_driver_is_named(check):
    said = check(DEFAULT__compute_driver='libvirt.LibvirtDriver')

    code, details = said['Options']
    assert code == WARNING
    assert 'rbd_multistore.LibvirtDriver' in details


@pytest.mark.long
def test_a_qemu_img_that_is_not_there_is_named(check, tmp_path):
    programs = tmp_path / 'bin'
    programs.mkdir()
    for program in pathlib.Path('/usr/bin').iterdir():
        if program.name not in ('qemu-img', 'rbd'):
            (programs / program.name).symlink_to(program)
    said = check(environment=NOBODY | {'PATH': str(programs)})

    code, details = said['Programs']
    assert code == FAILURE
    assert 'no program rbd' in details
    assert 'qemu-img' in details


def test_a_cluster_that_refuses_is_named_with_the_cap(check_as_ceph_user):
    said = check_as_ceph_user(RIGHTS, '')

    code, details = said['Ceph cluster']
    assert code == FAILURE
    assert 'mon "profile rbd"' in details
    assert said['Pools'][1].startswith('Not checked')


@pytest.mark.long
@pytest.mark.parametrize(
    ('caps', 'needed'),
    [
        ('profile rbd pool=vms', 'profile rbd-read-only pool=images'),
        ('profile rbd-read-only pool=images', 'profile rbd pool=vms'),
        (
            'profile rbd-read-only pool=vms, '
            'profile rbd-read-only pool=images',
            'profile rbd pool=vms',
        ),
    ],
)
def test_a_pool_without_its_cap_is_named_with_it(
    check_as_ceph_user, caps, needed
):
    code, details = check_as_ceph_user(caps)['Pools']

    assert code == FAILURE
    assert f'osd "{needed}"' in details


@pytest.mark.long
def test_a_data_pool_of_disks_that_is_not_there_is_named(check_as_ceph_user):
    said = check_as_ceph_user(RIGHTS, rbd_default_data_pool='nope')

    code, details = said['Pools']
    assert code == FAILURE
    assert 'Data pool nope' in details


@pytest.mark.long
def test_clones_of_version_2_are_well(check_as_ceph_user):
    said = check_as_ceph_user(RIGHTS, rbd_default_clone_format='2')

    assert said['Clones'][0] == SUCCESS


def test_a_store_in_another_cluster_is_named(check, public_image):
    del public_image
    said = check(libvirt__images_rbd_glance_store_name='east')

    code, details = said['Store and cluster']
    assert code == FAILURE
    assert 'is store west of Glance, not east' in details


@pytest.mark.long
def test_data_that_is_gone_is_named(check, as_demo, upload, west):
    image = upload(store='west')
    west.remove('images', image.id)

    code, details = check(environment=as_demo)['Store and cluster']

    assert code == FAILURE
    assert 'glance stores-delete' in details


@pytest.mark.long
def test_without_service_tokens_it_is_said(check):
    said = check(service_user__send_service_user_token=False)

    code, details = said['Service token']
    assert code == FAILURE
    assert 'send_service_user_token' in details


@pytest.mark.long
def test_a_service_user_without_the_role_is_told_how_to_get_it(
    check, make_service_user
):
    account = make_service_user('member')

    said = check(
        service_user__username=account['username'],
        service_user__password=account['password'],
    )

    code, details = said['Service token']
    assert code == FAILURE
    assert f'openstack role add --user {account["username"]}' in details


@pytest.mark.long
def test_a_region_that_is_not_there_is_named(check):
    code, details = check(glance__region_name='Nowhere')['Endpoints']

    assert code == FAILURE
    assert 'region_name' in details


def test_an_endpoint_that_is_away_is_named(check, where):
    away = 'http://127.0.0.1:9'
    said = check(glance__api_servers=[where.glance_apis[0].url, away])

    for name in ('Endpoints', 'Stores'):
        code, details = said[name]
        assert code == WARNING
        assert away in details


@pytest.mark.long
def test_an_endpoint_that_is_sick_says_why(check, make_glance):
    glance = make_glance()
    glance.lose_marker()

    code, details = check(glance__endpoint_override=glance.url)['Endpoints']

    assert code == FAILURE
    assert 'its health check says 503' in details


def test_a_store_that_glance_has_not_is_named(check):
    said = check(libvirt__images_rbd_glance_store_name='north')

    code, details = said['Stores']
    assert code == FAILURE
    assert 'no store named north' in details


@pytest.mark.long
@pytest.mark.parametrize('policy', ['copy_image', 'fetch_image_location'])
@pytest.mark.parametrize('asks', ['nobody', 'demo'])
def test_a_policy_as_glance_has_it_by_default_is_named_with_its_line(
    check, as_demo, public_image, make_glance, policy, asks
):
    del public_image
    glance = make_glance()
    glance.drop_policies(policy)

    said = check(
        environment=as_demo if asks == 'demo' else NOBODY,
        glance__endpoint_override=glance.url,
    )

    code, details = said[f'Policy {policy}']
    assert code == FAILURE
    assert f'add "{policy}": ' in details


@pytest.mark.long
def test_users_who_may_set_locations_are_noticed(
    check, as_demo, begin_image, location_glance
):
    begin_image()

    said = check(
        environment=as_demo, glance__endpoint_override=location_glance.url
    )

    code, details = said['Policy add_image_location']
    assert code == WARNING
    assert '"add_image_location": "role:admin"' in details


@pytest.mark.long
def test_an_administrator_s_environment_tells_nothing_of_users(
    check, as_demo, public_image, where
):
    del public_image
    account = dataclasses.asdict(cloud.account('admin', where))
    as_admin = NOBODY | {
        f'OS_{name.upper()}': value for name, value in account.items()
    }

    code, details = check(environment=as_admin)['Policy copy_image']

    assert code == WARNING
    assert 'user admin has a role' in details


@pytest.mark.long
def test_a_glance_without_the_import_method_is_named(
    check, public_image, make_glance
):
    del public_image
    glance = make_glance(DEFAULT={'enabled_import_methods': '[glance-direct]'})

    said = check(glance__endpoint_override=glance.url)

    code, details = said['Policy copy_image']
    assert code == FAILURE
    assert 'enabled_import_methods' in details


@pytest.mark.long
@pytest.mark.parametrize(
    ('roles', 'code'),
    [(('admin', 'service'), SUCCESS), (('service',), FAILURE)],
)
def test_a_separate_identity_is_asked_itself(
    check, public_image, make_service_user, make_glance, roles, code
):
    del public_image
    account = make_service_user(*roles)
    glance = make_glance()
    glance.drop_policies('copy_image')

    said = check(
        rbd_multistore__auth_type='password',
        glance__endpoint_override=glance.url,
        **{
            f'rbd_multistore__{name}': value for name, value in account.items()
        },
    )

    found, details = said['Policy copy_image']
    assert found == code, details
    assert account['username'] in details


@pytest.mark.long
def test_time_outs_that_are_too_short_are_named(check):
    code, details = check(rbd_multistore__rados_osd_op_timeout=5)['Time-outs']

    assert code == WARNING
    assert 'rados_osd_op_timeout is 5 s' in details


@pytest.mark.long
def test_a_cluster_that_does_not_answer_does_not_stop_the_rest(
    check, freeze, where
):
    for daemon in ('mon', 'osd'):
        freeze(f'ceph-{daemon}-west')

    said = check(libvirt__rbd_connect_timeout=2)

    assert said['Ceph cluster'][0] == FAILURE
    assert said['Pools'][1].startswith('Not checked')
    assert said['Endpoints'][0] == SUCCESS
