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

"""One run of tempest against the lab, which must be up with our driver."""

import contextlib
import dataclasses
import pathlib
import shutil

import jinja2
import pytest

from lab import cloud
from lab import files
from lab import layout
from tests.fixtures.handles import admin as admin
from tests.fixtures.handles import where as where
from tests.rig import clusters
from tests.rig import image_files
from tests.rig import logs
from tests.tempest import suite as tempest_suite
from tests.tempest import watching

_HERE = pathlib.Path(__file__).parent

#: Seconds that suffice for anything on a busy machine.
_TIMEOUT = 600


@pytest.fixture(scope='session')
def images(where, admin, tmp_path_factory):
    """Two public images of random bytes, in the store of the first site.

    No test looks into a guest, and to boot one takes most of a run's time.
    """
    path = tmp_path_factory.mktemp('tempest') / 'image'
    image_files.write(path, 'raw', size_mib=8)
    store = where.sites[0].store
    with contextlib.ExitStack() as stack:
        made = []
        for number in range(2):
            image_id = _make_image(admin, f'tempest-{number}')
            stack.callback(admin.image.delete_image, image_id)
            image_files.upload(admin, image_id, path, store)
            made.append(image_id)
        yield made


def _make_image(admin, name):
    answer = admin.image.post(
        '/images',
        json={
            'name': name,
            'visibility': 'public',
            'disk_format': 'raw',
            'container_format': 'bare',
            # Whatever runs there does not hear that it is to stop.
            'os_shutdown_timeout': '0',
        },
    )
    answer.raise_for_status()
    return answer.json()['id']


@pytest.fixture(scope='session')
def suite(where, admin, images):
    """Tempest, configured, in a directory of the lab that only root reads."""
    directory = where.root / 'tempest'
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(mode=0o700)
    template = jinja2.Template(
        (_HERE / 'tempest.conf.j2').read_text(),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    text = template.render(
        admin=cloud.account('admin', where),
        region=layout.REGION,
        images=images,
        flavors=[
            admin.compute.find_flavor(name, ignore_missing=False).id
            for name in ('m1.tiny', 'm1.small')
        ],
        zone=where.sites[1].zone,
        timeout=_TIMEOUT,
    )
    files.write(directory / 'tempest.conf', text)
    return tempest_suite.Suite(directory)


@dataclasses.dataclass(frozen=True)
class Run:
    """What came of one run, by the name of each test, and what was seen."""

    outcomes: dict[str, str]
    output: pathlib.Path
    parents: dict[str, clusters.Parent | None]
    compute_logs: list[logs.Log]


@pytest.fixture(scope='session')
def run(where, suite):
    """Tempest, run once for all tests here."""
    compute_logs = [logs.Log(compute.log) for compute in where.computes]
    with contextlib.ExitStack() as stack:
        sites = [
            stack.enter_context(clusters.Cluster(site)) for site in where.sites
        ]
        watch = stack.enter_context(watching.Watch(sites))
        outcomes = suite.run()
    return Run(outcomes, suite.output, watch.parents, compute_logs)
