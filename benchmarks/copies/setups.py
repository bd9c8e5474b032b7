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


"""Ways to set Glance up that may change how long it takes to copy."""

import dataclasses

from benchmarks.copies import figures
from tests.rig import apis


@dataclasses.dataclass(frozen=True)
class Setup:
    """One way to set Glance up.

    :ivar options: that differ from their defaults, by section and name
    :ivar in_memory: whether the staging area is in memory
    :ivar at_once: images that are copied at a time
    :ivar stores: of Glance's, from which they are copied
    """

    title: str
    options: apis.Options = dataclasses.field(default_factory=dict)
    in_memory: bool = False
    at_once: int = 1
    stores: tuple[str, ...] = figures.STORES


THIN = {'rbd_thin_provisioning': 'true'}
THIN_STAGING = {'filesystem_thin_provisioning': 'true'}

SETUPS = (
    Setup("Glance's defaults"),
    Setup('rbd_thin_provisioning', {'west': THIN}),
    Setup(
        'rbd_thin_provisioning, and filesystem_thin_provisioning in staging',
        {'west': THIN, 'os_glance_staging_store': THIN_STAGING},
    ),
    Setup('rbd_store_chunk_size = 4', {'west': {'rbd_store_chunk_size': '4'}}),
    Setup(
        'rbd_store_chunk_size = 32', {'west': {'rbd_store_chunk_size': '32'}}
    ),
    Setup('staging in memory', in_memory=True),
    Setup(
        'staging in memory, rbd_thin_provisioning, rbd_store_chunk_size = 4',
        {'west': {**THIN, 'rbd_store_chunk_size': '4'}},
        in_memory=True,
    ),
    Setup(
        'two images at once, task_pool_threads = 1',
        {'wsgi': {'task_pool_threads': '1'}},
        at_once=2,
        stores=('file',),
    ),
    Setup(
        'two images at once, task_pool_threads = 16 (the default)',
        {'wsgi': {'task_pool_threads': '16'}},
        at_once=2,
        stores=('file',),
    ),
)
