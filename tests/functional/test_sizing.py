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

"""What doc/source/sizing.rst has operators run does what it says there."""

import os
import pathlib
import re
import subprocess
import textwrap
import time

import pytest

from lab import cloud
from tests.rig import clusters
from tests.rig import polling

pytestmark = pytest.mark.fault

PAGE = pathlib.Path(__file__).parents[2] / 'doc' / 'source' / 'sizing.rst'

DAY = 24 * 60 * 60


def block(caption):
    """What the page shows under a caption that begins so."""
    found = re.search(
        rf'   :caption: {caption}.*\n\n((?:   .*\n|\n)+)', PAGE.read_text()
    )
    return textwrap.dedent(found[1])


def run(script, where, **environment):
    """Run it as an administrator; what it prints."""
    account = cloud.account('admin', where)
    return subprocess.run(
        ['/bin/bash', '-c', script],
        env={
            **os.environ,
            'PATH': f'{where.venv}/bin:{os.environ["PATH"]}',
            'OS_AUTH_URL': account.auth_url,
            'OS_USERNAME': account.username,
            'OS_PASSWORD': account.password,
            'OS_PROJECT_NAME': account.project_name,
            'OS_USER_DOMAIN_NAME': account.user_domain_name,
            'OS_PROJECT_DOMAIN_NAME': account.project_domain_name,
            'OS_IDENTITY_API_VERSION': '3',
            **environment,
        },
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout


def commands(caption, where):
    """Those of the page, for the cluster of site west."""
    site = where.sites[1]

    def give(number, old='', new=''):
        command = block(caption).splitlines()[number].removeprefix('# ')
        assert old in command
        return run(
            command.replace(old, new), where, CEPH_CONF=str(site.ceph_conf)
        )

    return give


# Staging


@pytest.fixture
def clean_up(where, tmp_path):
    """Runs the page's script on a directory of files that are old by now."""
    script = block('On the host of each glance-api')
    assert 'staging=/var/lib/glance/staging\n' in script

    def on(directory, **environment):
        for path in directory.iterdir():
            os.utime(path, (time.time() - 2 * DAY,) * 2)
        fresh = directory / 'of-now'
        fresh.touch()
        run(
            script.replace('/var/lib/glance/staging', str(directory)),
            where,
            **environment,
        )
        assert fresh.exists()
        fresh.unlink()
        return {path.name for path in directory.iterdir()}

    return on


@pytest.fixture
def staging(upload, demo, begin_image, tmp_path):
    """A staging directory, and by what each file in it is there."""
    staged = begin_image()
    demo.image.put(
        f'/images/{staged}/stage',
        data=b'staged',
        headers={'Content-Type': 'application/octet-stream'},
    ).raise_for_status()
    gone = upload()
    demo.image.delete_image(gone.id, ignore_missing=False)
    names = {'failed copy': upload().id, 'gone': gone.id, 'upload': staged}
    directory = tmp_path / 'staging'
    directory.mkdir()
    for name in names.values():
        (directory / name).touch()
    return directory, names


def test_the_clean_up_of_the_staging_directory_leaves_uploads(
    staging, clean_up
):
    directory, names = staging

    assert clean_up(directory) == {names['upload']}


def test_the_clean_up_removes_nothing_when_nobody_knows_what_is_needed(
    staging, clean_up
):
    directory, names = staging

    left = clean_up(directory, OS_PASSWORD='wrong')

    assert left == set(names.values())


# The clusters


@pytest.fixture
def no_quota(west):
    """Glance's pool in west has no quota in the end."""
    yield
    west.command(
        'osd pool set-quota', pool='images', field='max_bytes', val='0'
    )
    west.command('config rm', who='mgr', name='mon_pool_quota_warn_threshold')
    west.command('osd set-nearfull-ratio', ratio=0.85)
    for check in ('POOL_FULL', 'POOL_NEAR_FULL', 'OSD_NEARFULL'):
        west.wait_for_health(check, present=False)


SIZE = '$((4 * 2**40))'


def test_a_quota_of_glance_s_pool_ends_copies_and_stops_no_guest(
    upload, no_quota, make_glance, make_host, demo_user, west, where
):
    cold, local = upload(), upload(store='west')
    glance = make_glance(west={'rados_connect_timeout': '5'})
    host = make_host('west-1', glance__endpoint_override=glance.url)
    quota = commands('As an administrator of each cluster', where)
    quota(0, SIZE, str(1 << 20))
    west.wait_for_health('POOL_FULL')

    failed, booted = host.boot(demo_user, cold.id, local.id)

    assert failed.error == 'CopyFailed'
    assert booted.error is None, booted.message
    assert west.parent(booted.disk) == clusters.of_glance(local.id)
    west.write('vms', booted.disk, b'by its guest')


def test_there_is_an_alarm_before_the_pool_or_the_cluster_is_full(
    upload, no_quota, west, where
):
    upload(size_mib=8, store='west')
    # The cluster counts what is in it every few seconds.
    polling.until(lambda: west.stored('images') >= 8 << 20, 'it is counted')
    quota = commands('As an administrator of each cluster', where)
    alarm = commands('For the monitoring of each cluster', where)
    used = west.stored('images')

    quota(1)
    quota(0, SIZE, str(used + used // 10))
    west.wait_for_health('POOL_NEAR_FULL')
    assert 'POOL_NEAR_FULL' in alarm(1)
    alarm(0, '0.75', '0.0001')
    west.wait_for_health('OSD_NEARFULL')
    assert 'OSD_NEARFULL' in alarm(1)
