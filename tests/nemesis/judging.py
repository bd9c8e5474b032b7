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


"""What has to be true of a run of the nemesis, judged by its events alone."""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
import math

from nova_rbd_multistore import exceptions
from tests.nemesis import events as events_

Event = events_.Event

#: Seconds that a boot may take beyond its time-out: a last question to each
#: of two glance-apis, and the clone.
SLACK = 150.0

#: Seconds for which a fault is felt after it was mended.
AFTERMATH = 60.0

#: What the hosts of a run may grow by, from the middle of it to its end.
GROWTH = 1.5

#: Bytes, descriptors or threads that are no growth. Connections are kept, ten
#: to each of two glance-apis and Keystone, beside those to Ceph.
NO_GROWTH = {'rss': 32 << 20, 'fds': 64, 'threads': 24}

#: Boots under way at a time at which it is known what a host keeps.
CALM = 2

#: Samples of a third of a process' life that are too few to tell.
SETTLED = 10

#: Seconds for which an answer about an image may be out of date.
LATE = 5.0

#: What faults explain an error, by its class: how their names begin. An error
#: that is not here is one that no fault of a run explains.
GLANCE = ('glance-api', 'keystone', 'mariadb', 'network')
CEPH = ('ceph-mon', 'ceph-osd', 'network')
#: What Keystone cannot tell Glance, whether a service token is good, Glance
#: takes for a no.
KEYSTONE = ('keystone', 'mariadb', 'network')
NOVA = ('mariadb', 'rabbitmq', 'compute-', 'network')
#: What kills a host's process is about itself.
KILLS = ('killed', 'stopped')
REVOKED = tuple(f'token-of-{name} revoked' for name in ('demo', 'other'))
CAUSES: dict[str, tuple[str, ...]] = {
    'GlanceUnavailable': GLANCE,
    'KeystoneUnavailable': GLANCE,
    'StoreUnavailable': GLANCE,
    'RequestFailed': (*GLANCE, *CEPH),
    'TokenRefused': (*GLANCE, *REVOKED),
    'LocationsForbidden': KEYSTONE,
    'CopyForbidden': KEYSTONE,
    'CopyFailed': (*GLANCE, *CEPH),
    'CopyStalled': (*GLANCE, *CEPH),
    'CopyTimedOut': (*GLANCE, *CEPH, 'host-'),
    'CopyQueued': (*GLANCE, *CEPH),
    'CopyRefused': (*GLANCE, *CEPH),
    'ImageHeld': (*GLANCE, *CEPH),
    'NotInCluster': ('deleted', *CEPH),
    'ClusterUnreachable': CEPH,
    'ClusterRefused': CEPH,
    'PoolUnusable': CEPH,
    'DiskUnusable': CEPH,
    'ImageGone': ('deleted', 'withdrawn'),
    'NotActive': ('deactivated',),
    'NotCopiedOnDemand': (),
    'NotRaw': (),
}

#: The errors that what is left of a fault explains, for as long as that is.
OF_LOCKS = (
    *('CopyFailed', 'CopyStalled', 'CopyTimedOut', 'CopyQueued'),
    *('CopyRefused', 'ImageHeld', 'NotInCluster'),
)


def every_boot_ends(events: Sequence[Event]) -> Iterator[str]:
    """Each that was to begin has ended, within its bound."""
    spells = _spells(events)
    for boot in _of(events, 'boot'):
        seconds = boot.details.get('seconds')
        host = boot.details['host']
        if seconds is None:
            if not any(
                fault.about in [f'{host} {how}' for how in KILLS]
                and fault.at >= boot.at
                for fault, _ in spells
            ):
                yield f'{boot.about} did not end'
            continue
        bound = boot.details['timeout'] + SLACK
        # It does nothing while its host is frozen.
        bound += sum(
            mended - fault.at
            for fault, mended in spells
            if fault.about == f'{host} frozen'
            and fault.at <= _ended(boot)
            and boot.at <= mended
        )
        if seconds > bound:
            yield f'{boot.about} took {seconds:.0f} s, bound {bound:.0f} s'


def no_host_dies(events: Sequence[Event]) -> Iterator[str]:
    """No process of a host ends by itself."""
    for crash in _of(events, 'crash'):
        yield f'{crash.about} ended with {crash.details["code"]}'


def errors_are_documented(events: Sequence[Event]) -> Iterator[str]:
    """An error is one of the driver's own."""
    for boot in _of(events, 'boot'):
        error = boot.details.get('error')
        if error and not hasattr(exceptions, error):
            yield f'{boot.about} ended with {error}: {_message(boot)}'


def errors_are_true(events: Sequence[Event]) -> Iterator[str]:
    """What may cause an error was broken when it came, or shortly before."""
    images, spells = _by_name(events, 'image'), _spells(events)
    for boot in _of(events, 'boot'):
        error = boot.details.get('error')
        if not error or not hasattr(exceptions, error):
            continue
        if error not in _own_errors(boot, images) and not any(
            fault.about.startswith(CAUSES.get(error, ()))
            and _is_felt(fault, mended, boot)
            for fault, mended in spells
        ):
            yield f'{boot.about} ended with {error}: {_message(boot)}'


def nobody_boots_without_the_right(events: Sequence[Event]) -> Iterator[str]:
    """Whoever has a disk could see the image at that time."""
    images, spells = _by_name(events, 'image'), _certain(events)
    gone = {event.about: event.at for event in _of(events, 'gone')}
    for boot in _of(events, 'boot'):
        if not _has_disk(boot):
            continue
        name = boot.details['image']
        for error in _own_errors(boot, images) & FINAL:
            yield f'{boot.about} has a disk, and not {error}'
        if gone.get(name, math.inf) < boot.at - LATE:
            yield f'{boot.about} has a disk of {name}, which was gone'
        for fault, mended in spells:
            if (
                _felt_by(fault).get('image') == name
                and fault.about.startswith(_hides_from(boot))
                and fault.at < boot.at - LATE
                and _ended(boot) < mended
            ):
                yield f'{boot.about} has a disk of {name}: {fault.about}'


def servers_settle(events: Sequence[Event]) -> Iterator[str]:
    """A server is up; or it is in error, while something is broken."""
    spells = _spells(events)
    for server in _of(events, 'server'):
        status = server.details['status']
        if status == 'ACTIVE':
            continue
        if status != 'ERROR' or not any(
            fault.at <= _ended(server)
            and server.at
            <= mended + max(fault.details.get('aftermath', 0.0), AFTERMATH)
            for fault, mended in spells
        ):
            yield f'server {server.about} is {status}: {_message(server)}'


def disks_are_clones(events: Sequence[Event]) -> Iterator[str]:
    """Each disk is a clone of the snapshot of its own image."""
    images = {
        boot.about: boot.details['image']
        for boot in _of(events, 'boot')
        if _has_disk(boot)
    }
    seen = {disk.about: disk.details['parent'] for disk in _of(events, 'disk')}
    for name, image in images.items():
        if name not in seen:
            yield f'{name} is not there'
        elif seen[name] != ['images', image, 'snap']:
            yield f'{name} of image {image} is a clone of {seen[name]}'


def copies_are_whole(events: Sequence[Event]) -> Iterator[str]:
    """What a store has of an image are the image's bytes."""
    right = {
        image.about: image.details['digest'] for image in _of(events, 'image')
    }
    for copy in _of(events, 'copy'):
        if copy.details['digest'] != right[copy.about]:
            yield f'{copy.about} is another image in {copy.details["store"]}'


def a_copy_is_made_once(events: Sequence[Event]) -> Iterator[str]:
    """Of an image to a store, unless half of the image was deleted."""
    halved = {
        _felt_by(fault)['image']
        for fault in _of(events, 'fault')
        if fault.about == 'deleted'
    }
    made = collections.Counter(
        (task.about, store)
        for task in _of(events, 'task')
        if task.details['status'] == 'success' and task.about not in halved
        for store in task.details['stores']
    )
    for (image, store), times in made.items():
        if times > 1:
            yield f'{image} was copied to {store} {times} times'


def nothing_is_left(events: Sequence[Event]) -> Iterator[str]:
    """No RBD image belongs to nobody, unless Glance was broken off."""
    broken_off = any(
        fault.about.startswith((*GLANCE, 'deleted', *CEPH))
        for fault in _of(events, 'fault')
    )
    # While Nova's API takes a host for one that is down, it deletes servers in
    # the database alone; their host finds the guests within half an hour.
    servers = {f'{server.about}_disk' for server in _of(events, 'server')}
    nova_was_broken = any(
        fault.about.startswith(NOVA) for fault in _of(events, 'fault')
    )
    for left in _of(events, 'left'):
        if left.about in servers and nova_was_broken:
            continue
        if left.details['pool'] != 'images' or not broken_off:
            yield f'{left.about} is left in {left.details["pool"]}'


def hosts_level_off(events: Sequence[Event]) -> Iterator[str]:
    """A process needs no more of anything in the end than half-way.

    When few boots are under way: those that wait have threads and connections.
    """
    by_process: dict[str, list[Event]] = {}
    for sample in _of(events, 'sample'):
        if sample.details['boots'] > CALM:
            continue
        by_process.setdefault(sample.about, []).append(sample)
    for process, samples in by_process.items():
        third = len(samples) // 3
        if third < SETTLED:
            continue
        for name, free in NO_GROWTH.items():
            values = [sample.details[name] for sample in samples]
            before = min(values[third : 2 * third])
            now = min(values[2 * third :])
            if now > max(GROWTH * before, free):
                yield f'{name} of {process} grew from {before} to {now}'


def all_is_well_at_the_end(events: Sequence[Event]) -> Iterator[str]:
    """Once all faults are mended, each image boots on both sites."""
    images = _by_name(events, 'image')
    last: dict[tuple[str, str], Event] = {}
    for boot in _of(events, 'boot'):
        if boot.details.get('last'):
            last[boot.details['site'], boot.details['image']] = boot
    for (site, image), boot in last.items():
        error = boot.details.get('error')
        if error and error not in _own_errors(boot, images):
            yield f'{image} does not boot in {site}: {_message(boot)}'


Check = Callable[[Sequence[Event]], Iterator[str]]

CHECKS: tuple[Check, ...] = (
    every_boot_ends,
    no_host_dies,
    errors_are_documented,
    errors_are_true,
    nobody_boots_without_the_right,
    servers_settle,
    disks_are_clones,
    copies_are_whole,
    a_copy_is_made_once,
    nothing_is_left,
    hosts_level_off,
    all_is_well_at_the_end,
)


def broken(events: Sequence[Event]) -> list[str]:
    """What is broken in a run, check by check."""
    return [
        f'{check.__name__}: {what}'
        for check in CHECKS
        for what in check(events)
    ]


def _of(events: Sequence[Event], what: str) -> list[Event]:
    return [event for event in events if event.what == what]


def _message(boot: Event) -> str:
    return str(boot.details.get('message', ''))[:200]


def _has_disk(boot: Event) -> bool:
    return not boot.details.get('error') and (
        boot.details.get('seconds') is not None
    )


def _ended(boot: Event) -> float:
    return boot.at + float(boot.details.get('seconds') or 0.0)


#: Of the errors that an image itself explains, those that leave no way to a
#: disk.
FINAL = {'NotRaw', 'ImageGone'}


def _own_errors(boot: Event, images: Mapping[str, Event]) -> set[str]:
    """The errors that a boot may end with though nothing is broken."""
    image = images.get(boot.details['image'])
    if image is None:
        return set()
    errors = set()
    if image.details['disk_format'] != 'raw':
        errors.add('NotRaw')
    if boot.details['user'] != image.details['owner']:
        match image.details['visibility']:
            case 'private':
                errors.add('ImageGone')
            case 'community' | 'shared':
                errors.add('NotCopiedOnDemand')
    return errors


def _by_name(events: Sequence[Event], what: str) -> dict[str, Event]:
    return {event.about: event for event in _of(events, what)}


def _hides_from(boot: Event) -> tuple[str, ...]:
    if boot.details['user'] == 'other':
        return ('deactivated', 'withdrawn')
    return ('deactivated',)


def _spells(events: Sequence[Event]) -> list[tuple[Event, float]]:
    """Each fault, and when it was mended: it was not there any longer."""
    return _between(events, 'fault', 'mended')


def _certain(events: Sequence[Event]) -> list[tuple[Event, float]]:
    """Each fault that was there, and when its end began: until then it was."""
    return _between(events, 'begun', 'ending')


def _between(
    events: Sequence[Event], beginning: str, end: str
) -> list[tuple[Event, float]]:
    ends = _of(events, end)

    def mended(fault: Event) -> float:
        return min(
            (
                event.at
                for event in ends
                if event.about == fault.about
                and _felt_by(event) == _felt_by(fault)
                and event.at >= fault.at
            ),
            default=math.inf,
        )

    return [(fault, mended(fault)) for fault in _of(events, beginning)]


def _felt_by(event: Event) -> dict[str, str]:
    """Which boots may feel a fault, by their details; {} for all."""
    found: dict[str, str] = event.details.get('felt_by', {})
    return found


def _is_felt(fault: Event, mended: float, boot: Event) -> bool:
    """Whether a boot may have felt a fault."""
    felt = AFTERMATH
    if boot.details['error'] in OF_LOCKS or fault.about in REVOKED:
        # What was killed in the middle of a copy has left its lock.
        felt = max(fault.details.get('aftermath', 0.0), felt)
    return (
        _felt_by(fault).items() <= boot.details.items()
        and fault.at <= _ended(boot)
        and boot.at <= mended + felt
    )
