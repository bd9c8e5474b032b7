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


"""What costs nothing but time of the processor."""

import subprocess
import sys
import time
import uuid

from benchmarks import report
from benchmarks import runs
from nova_rbd_multistore import image
from nova_rbd_multistore import source

FSID = '6c1b4d0e-54d9-4c4e-9a0f-2c8a4c9a1f00'

_IMPORT = """
import time
from nova import monkey_patch
monkey_patch.patch(backend='threading')
import nova.virt.libvirt.driver
began = time.perf_counter()
import nova_rbd_multistore.driver
print(time.perf_counter() - began)
"""


def import_seconds() -> float:
    """Import the package into a new process that has Nova's driver."""
    done = subprocess.run(
        [sys.executable, '-c', _IMPORT],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return float(done.stdout)


def parse_seconds(locations: int = 100) -> float:
    """Read an image's record, and find out where to clone it from."""
    image_id = str(uuid.uuid4())
    answer = {
        'id': image_id,
        'status': 'active',
        'disk_format': 'raw',
        'stores': ','.join(f'dcn-{number}' for number in range(locations)),
        'locations': [
            {
                'url': f'rbd://{uuid.uuid4()}/images/{image_id}/snap',
                'metadata': {'store': f'dcn-{number}'},
            }
            for number in range(locations)
        ],
    }
    began = time.perf_counter()
    record = image.ImageRecord.from_answer(answer)
    source.local_sources(
        record, record.locations or (), FSID, source.Pools('images')
    )
    return time.perf_counter() - began


def processor(run: runs.Run) -> list[report.Figure]:
    """Import of the package, and parse of a record of 100 locations."""
    return [
        report.Figure(
            'Import of the package, Nova imported before',
            'us',
            ours=[import_seconds() * 1e6 for _ in run.times(5)],
        ),
        report.Figure(
            'Parse and check of a record with 100 locations',
            'us',
            ours=[parse_seconds() * 1e6 for _ in run.times(100)],
        ),
    ]
