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

"""What is wrong with an image's copies, and what can be done about it."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
import dataclasses
import datetime
import enum

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore_client import data
from nova_rbd_multistore_client import reading


class Action(enum.Enum):
    """What would be done."""

    #: Only people can do something, or nothing is to be done.
    NONE = 'nothing'
    #: Request a copy to a store that has the image: Glance drops a lock that
    #: has aged before it sees that there is nothing to copy.
    DROP_LOCK = 'have Glance drop the lock'
    REMOVE_DATA = 'remove the data from the pool'
    DELETE_COPY = 'delete the copy from the record'


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    :ivar store: that it is about, '' if about none
    :ivar what: is seen
    :ivar why_not: why nothing is done about it, or what people can do
    """

    store: str
    what: str
    action: Action = Action.NONE
    why_not: str = ''

    def __str__(self) -> str:
        """What would be done, for people."""
        if self.action is Action.NONE:
            return f'nothing: {self.why_not}'
        words: str = self.action.value
        return words


def findings(
    record: image_values.ImageRecord,
    tasks: Sequence[task_values.CopyTask],
    pools: Mapping[str, data.Data | None],
    now: datetime.datetime,
    *,
    sees_all_tasks: bool,
    referred_to: Callable[[str], bool],
) -> list[Finding]:
    """All that is not as it should be.

    :param tasks: those of the image that Glance shows
    :param pools: what is in the pools that were looked into, by store
    :param now: UTC, without a zone
    :param sees_all_tasks: whether a task that is not shown is not there
    :param referred_to: whether any record has its data under this image's
        name in the pool of a store
    """
    found = [*_of_lock(record, tasks, now, sees_all_tasks=sees_all_tasks)]
    found += _of_flags(record)
    for store, there in pools.items():
        if store in record.stores:
            found += _of_copy(record, store, there, pools)
        elif there is not None:
            found.append(_of_orphan(record, store, there, referred_to))
    return found


def _of_lock(
    record: image_values.ImageRecord,
    tasks: Sequence[task_values.CopyTask],
    now: datetime.datetime,
    *,
    sees_all_tasks: bool,
) -> Iterator[Finding]:
    if record.lock is None:
        return
    task = next((task for task in tasks if task.id == record.lock), None)
    if task is None:
        what = f'held by task {record.lock}, which Glance does not show'
        if not sees_all_tasks:
            yield Finding(
                '', what, why_not='an administrator may see that task'
            )
        elif not record.stores:
            yield Finding('', what, why_not=_NO_DATA)
        else:
            yield Finding('', what, Action.DROP_LOCK)
        return
    until = task.lock_kept_until
    heard = f'last heard of at {task.updated_at:%Y-%m-%d %H:%M:%S} UTC'
    does = 'which has ended' if task.finished else f'which is {task}'
    what = f'held by task {task.id}, {does}, {heard}'
    if now < until:
        yield Finding(
            '',
            what,
            why_not='Glance lets nobody take it over before '
            f'{until:%Y-%m-%d %H:%M:%S} UTC',
        )
    elif not record.stores:
        yield Finding('', what, why_not=_NO_DATA)
    else:
        yield Finding('', what, Action.DROP_LOCK)


_NO_DATA = 'no store has the image: delete it, and upload it again'


def _of_flags(record: image_values.ImageRecord) -> Iterator[Finding]:
    """Names that copies have left behind: only Glance may change them."""
    if record.lock is not None:
        return
    for store in sorted(record.importing):
        yield Finding(
            store,
            'the record says that it is being copied, and no task does that',
            why_not='it means nothing, and the next copy to the store clears '
            'it',
        )
    for store in sorted(record.failed):
        if store in record.stores:
            what = 'the record says that a copy failed, and the store has it'
            why = 'it means nothing, and Glance lets nobody clear it'
        else:
            what = 'the last copy failed'
            why = 'request it again (image replica create)'
        yield Finding(store, what, why_not=why)


def _of_copy(
    record: image_values.ImageRecord,
    store: str,
    there: data.Data | None,
    pools: Mapping[str, data.Data | None],
) -> Iterator[Finding]:
    """A copy that the record lists."""
    if record.lock is not None and store in record.importing:
        return
    health, words = data.health(there, record.size)
    if health is not reading.Health.MISSING:
        return
    what = f'the record lists the store, and {words}'
    if record.lock is not None:
        yield Finding(store, what, why_not='the image is held: first that')
    elif there is not None and there.in_use:
        yield Finding(store, what, why_not=there.in_use)
    elif not _has_whole_copy(record, record.stores - {store}, pools):
        yield Finding(
            store,
            what,
            why_not='no other store is known to have its data: look for it '
            'in a backup, and delete the image',
        )
    else:
        yield Finding(store, what, Action.DELETE_COPY)


def _has_whole_copy(
    record: image_values.ImageRecord,
    others: Collection[str],
    pools: Mapping[str, data.Data | None],
) -> bool:
    """Whether one of the stores was seen to have all of the data."""
    return any(
        other in pools
        and data.health(pools[other], record.size)[0]
        is not reading.Health.MISSING
        for other in others
    )


def _of_orphan(
    record: image_values.ImageRecord,
    store: str,
    there: data.Data,
    referred_to: Callable[[str], bool],
) -> Finding:
    """Data in a pool that the record does not list."""
    what = (
        f'{there.used} bytes of its name are in the pool, and the record does '
        'not list the store: every copy to it fails'
    )
    if record.lock is not None:
        return Finding(store, what, why_not='the image is held: first that')
    if there.in_use:
        return Finding(store, what, why_not=there.in_use)
    if not record.stores:
        # It may be all that there is of the image.
        return Finding(store, what, why_not='no store has the image')
    if referred_to(store):
        return Finding(store, what, why_not='a record has its data there')
    return Finding(store, what, Action.REMOVE_DATA)
