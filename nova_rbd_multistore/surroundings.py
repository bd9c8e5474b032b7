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

"""What nova-compute needs beside itself, and says at start if it lacks it.

Nova runs some programs of Ceph and QEMU. Without one, most things work, and
the rest fails late, in the middle of somebody's request.
"""

import shutil

from oslo_concurrency import processutils
from oslo_log import log as logging

from nova_rbd_multistore import ceph
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)

#: Of Ceph 16, the oldest that our tests run with.
OLDEST_LIBRBD = (1, 16, 0)


def announce() -> None:
    """Warn of what is not there, and of what will not work without it."""
    if not has_program_rbd():
        LOG.warning(
            'There is no program rbd (package ceph-common): servers with a '
            'config drive, an ephemeral or a swap disk will not boot, nor '
            'from an image that Nova downloads.'
        )
    reason = why_qemu_img_lacks_rbd()
    if reason:
        LOG.warning(
            'The program qemu-img cannot use RBD: %s (packages qemu-utils and '
            'qemu-block-extra, where they are called so). Snapshots of '
            'servers fail unless they are made within Ceph; guests of a QEMU '
            'that cannot, either, do not start.',
            reason,
        )
    version = ceph.librbd_version()
    if version < OLDEST_LIBRBD:
        LOG.warning(
            'librbd %(version)s is older than %(oldest)s (Ceph 16), with '
            'which this driver was tested: copies may not be seen arriving.',
            {
                'version': '.'.join(map(str, version)),
                'oldest': '.'.join(map(str, OLDEST_LIBRBD)),
            },
        )


def has_program_rbd() -> bool:
    """Whether there is the program ``rbd``, which Nova runs."""
    return shutil.which('rbd') is not None


def why_qemu_img_lacks_rbd() -> str:
    """Why qemu-img cannot use RBD, '' if it can."""
    try:
        # Which pool, it asks if it can, and connects to nothing.
        _, said = processutils.execute(
            'qemu-img', 'info', 'rbd:', check_exit_code=False
        )
    except OSError as exc:
        return text.printable(exc, 120)
    if 'Unknown protocol' in said or 'open module' in said:
        return text.printable(said.strip().rpartition('\n')[2], 120)
    return ''
