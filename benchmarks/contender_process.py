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


"""The process of one contender, which makes boot disks as it is told.

Run as a program by :mod:`benchmarks.contenders`. The first line of its
standard input says how it is configured and which driver it loads: Nova's,
ours, or none but :mod:`benchmarks.bare`. Each further line is one order,
answered by a line of its own when it is done, in any order. Both are JSON.
"""

# Nova's rule: before anything else is imported.
from nova import monkey_patch

monkey_patch.patch(backend='threading')

from concurrent import futures  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

from nova import context as nova_context  # noqa: E402
import nova.conf  # noqa: E402
import psutil  # noqa: E402

from benchmarks import bare  # noqa: E402
from benchmarks import counting  # noqa: E402
from tests.rig import host_process  # noqa: E402

#: Boots at a time, waiting ones included.
BOOTS = 64

#: Modules in which whoever is there asks Glance about a copy.
POLLING = re.compile(
    r'nova_rbd_multistore/copying\.py$|oslo_service/.*/loopingcall\.py$'
)


class Contender:
    """A driver, and what its boots have cost so far."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._counts = counting.install()
        self._driver = host_process.load(job)
        self._bare = bare.Bare() if job['bare'] else None

    def boot(self, order: dict[str, Any]) -> dict[str, Any]:
        """Make one boot disk, as Nova's spawn() does."""
        disk = f'{order["server"]}_disk'
        context = nova_context.RequestContext(**order['user'])
        time.sleep(max(order['at'] - time.time(), 0))
        began = time.time()
        if self._bare is None:
            error = host_process.boot(self._driver, context, order)['error']
        else:
            error = None
            if order['copy']:
                self._bare.copy(context, order['image'])
            elif order['locations']:
                self._bare.get_with_locations(context, order['image'])
            elif order['get']:
                self._bare.get(context, order['image'])
            self._bare.clone(order['image'], disk)
            if order['root_gib']:
                self._bare.grow(disk, order['root_gib'])
        return {
            'disk': disk,
            'began': began,
            'ended': time.time(),
            'clone': self._counts.clones.get(disk),
            'error': error and f'{error["classes"][0]}: {error["message"]}',
        }

    def describe(self, order: dict[str, Any]) -> dict[str, Any]:
        """Make the part of the guest's XML that is about the disk."""
        disk = self._driver.image_backend.by_name(
            host_process.server(order),
            'disk',
            disk_info_mapping={'bus': 'virtio', 'dev': 'vda', 'type': 'disk'},
        )
        began = time.time()
        disk.libvirt_info('none', {})
        return {'seconds': time.time() - began}

    def use_glance(self, order: dict[str, Any]) -> dict[str, Any]:
        """Ask another glance-api from now on."""
        nova.conf.CONF.set_override(
            'endpoint_override', order['url'], group='glance'
        )
        return {}

    def count(self, _order: dict[str, Any]) -> dict[str, Any]:
        """What it has cost so far, and what it takes now."""
        process = psutil.Process()
        return {
            'connections': self._counts.connections,
            'subprocesses': self._counts.subprocesses,
            'threads': process.num_threads(),
            'resident': process.memory_info().rss,
            'polling': sum(map(_polls, sys._current_frames().values())),
        }


def _polls(frame: Any) -> bool:
    while frame is not None:
        if POLLING.search(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


def main() -> None:
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)
    one_at_a_time = threading.Lock()

    def answer(number: int, **fields: Any) -> None:
        with one_at_a_time:
            print(json.dumps({'number': number, **fields}), file=answers)

    contender = Contender(json.loads(sys.stdin.readline()))
    answer(0, result={})
    orders = {
        'boot': contender.boot,
        'use-glance': contender.use_glance,
        'describe': contender.describe,
        'count': contender.count,
    }

    def carry_out(order: dict[str, Any]) -> None:
        try:
            result = orders[order['order']](order)
        except Exception as exc:  # told to who gave the order
            answer(order['number'], failure=f'{type(exc).__name__}: {exc}')
        else:
            answer(order['number'], result=result)

    with futures.ThreadPoolExecutor(BOOTS) as pool:
        for line in sys.stdin:
            pool.submit(carry_out, json.loads(line))


if __name__ == '__main__':
    main()
