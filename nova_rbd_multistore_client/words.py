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

"""A cell in a sentence, for whoever looks at one image alone."""

import datetime

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore_client import cell


def sentence(
    found: cell.Cell,
    record: image_values.ImageRecord,
    task: task_values.CopyTask | None,
) -> str:
    """What a cell means, and what could be done about it.

    :param task: that holds the image, None if none does, or Glance does not
        show it
    """
    match found.state:
        case cell.State.YES:
            return 'the store has the image'
        case cell.State.NO:
            return 'the store has not the image'
        case cell.State.FAILED if found.reason:
            return f'the last copy failed: {found.reason}'
        case cell.State.FAILED:
            return (
                'the last copy failed; glance-api tells why in its log, or '
                'when the copy is requested for this store alone'
            )
        case cell.State.COPYING if found.queued:
            return 'Glance has accepted the copy, and not begun it'
        case cell.State.COPYING if task is None:
            return 'a copy that was requested by another project'
        case cell.State.COPYING if task is not None:
            heard = f'last heard of {_moment(task.updated_at)}'
            if found.percent is None:
                return f'being copied, {heard}'
            return f'{found.percent} % copied, {heard}'
    return _lock(found, record, task)


def _lock(
    found: cell.Cell,
    record: image_values.ImageRecord,
    task: task_values.CopyTask | None,
) -> str:
    if task is None:
        return (
            f'the image is held by Glance task {record.lock}, which Glance '
            'does not show to this account'
        )
    does = 'has ended' if task.finished else f'is {task}'
    until = _moment(found.until) if found.until else 'an unknown time'
    return (
        f'the image is held by Glance task {task.id}, which {does}, last '
        f'heard of {_moment(task.updated_at)}; another copy can be requested '
        f'when that ends, or after {until}'
    )


def _moment(time: datetime.datetime) -> str:
    return f'{time:%Y-%m-%d %H:%M:%S} UTC'
