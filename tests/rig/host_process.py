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

"""The process of one host: boot disks made by Nova's own driver code.

Run as a program by :mod:`tests.rig.hosts`. It loads the real LibvirtDriver,
ours or Nova's, with a compute's nova.conf, and has it create the root disks
of servers by the very method that Nova's spawn() calls. What is left out is
the guest: no libvirt is spoken to.

The first line of its standard input is a job, in JSON, with the boots to begin
with. Each further line, for as long as there are any, is one more boot. What
becomes of each goes as a line into the file that the job names, and Nova's log
into another.
"""

# Nova's rule: before anything else is imported.
from nova import monkey_patch

monkey_patch.patch(backend='threading')

import json  # noqa: E402
import pathlib  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

from nova import config as nova_config  # noqa: E402
from nova import context as nova_context  # noqa: E402
from nova import objects  # noqa: E402
from nova.compute import vm_states  # noqa: E402
import nova.conf  # noqa: E402
from nova.db.main import api as main_db  # noqa: E402
from nova.virt import driver as virt_driver  # noqa: E402
from oslo_log import log as logging  # noqa: E402
from oslo_utils import importutils  # noqa: E402
from oslo_utils import timeutils  # noqa: E402

CONF = nova.conf.CONF
LOG = logging.getLogger('nova.tests.rig')


def configure(job: dict[str, Any]) -> None:
    nova_config.parse_args(
        ['host_process', *(f'--config-file={path}' for path in job['confs'])],
        default_config_files=job['confs'],
        configure_db=False,
    )
    CONF.set_override('state_path', job['state_path'])
    CONF.set_override('instances_path', job['state_path'] + '/instances')
    CONF.set_override(
        'lock_path', job['state_path'] + '/locks', group='oslo_concurrency'
    )
    CONF.set_override('log_file', job['log'])
    # An empty one: these servers are in no database. In a file, for boots that
    # ask at once would share the one connection to a database in memory.
    CONF.set_override(
        'connection', f'sqlite:///{job["log"]}.sqlite', group='database'
    )
    main_db.configure(CONF)
    # Not by two boots at once: the one that comes second would meet an engine
    # that does not translate its errors yet.
    main_db.get_engine()


def server(disk: dict[str, Any]) -> 'objects.Instance':
    """A server in the middle of spawn(), with what its disk depends on."""
    return objects.Instance(
        uuid=disk['server'],
        # Nobody's, where a disk is only described.
        project_id=disk.get('user', {}).get('project_id'),
        image_ref=disk['image'],
        flavor=objects.Flavor(root_gb=disk['root_gib'], extra_specs={}),
        system_metadata={},
        trusted_certs=None,
        migration_context=None,
        task_state='spawning',
        vm_state=disk.get('vm_state', vm_states.BUILDING),
        launched_at=timeutils.utcnow() if disk.get('ran') else None,
        config_drive='',
    )


def boot(
    driver: Any, context: nova_context.RequestContext, disk: dict[str, Any]
) -> dict[str, Any]:
    """Make one root disk, as spawn() does."""
    began_at, began = time.time(), time.monotonic()
    error = None
    try:
        driver._create_and_inject_local_root(
            context,
            server(disk),
            {'disk': {'bus': 'virtio', 'dev': 'vda', 'type': 'disk'}},
            False,
            '',
            {'image_id': disk['image']},
            None,
            None,
        )
    except Exception as exc:  # an outcome to be looked at
        error = {
            'classes': [kind.__name__ for kind in type(exc).__mro__],
            'message': str(exc),
        }
    LOG.info('DISK-OUTCOME %s %s', disk['server'], error)
    return {
        'server': disk['server'],
        'image': disk['image'],
        'began': began_at,
        'seconds': time.monotonic() - began,
        'error': error,
    }


def load(job: dict[str, Any]) -> virt_driver.ComputeDriver:
    """The driver that the job names, with its options."""
    configure(job)
    logging.setup(CONF, 'nova')
    objects.register_all()
    module = importutils.import_module(f'nova.virt.{job["driver"][0]}')
    driver = getattr(module, job['driver'][1])(virtapi=None)
    assert isinstance(driver, virt_driver.ComputeDriver)
    if job['driver'][0] != 'libvirt':
        # Ours does that, too, in the init_host() that speaks to libvirt.
        importutils.import_module('nova_rbd_multistore.host').serve_metrics()
    return driver


def main() -> None:
    job = json.loads(sys.stdin.readline())
    driver = load(job)
    # A thread for each, which ends with it, so that threads can be counted.
    begun: list[threading.Thread] = []
    writing = threading.Lock()

    with pathlib.Path(job['outcomes']).open('w') as outcomes:

        def run(disk: dict[str, Any]) -> None:
            time.sleep(max(disk['at'] - time.time(), 0))
            context = nova_context.RequestContext(**disk['user'])
            outcome = boot(driver, context, disk)
            with writing:
                outcomes.write(json.dumps(outcome) + '\n')
                # Whoever kills this process reads it, too.
                outcomes.flush()

        def begin(disk: dict[str, Any]) -> None:
            thread = threading.Thread(target=run, args=(disk,))
            begun.append(thread)
            thread.start()

        for disk in job['disks']:
            begin(disk)
        for line in sys.stdin:
            begin(json.loads(line))
        for thread in begun:
            thread.join()


if __name__ == '__main__':
    main()
