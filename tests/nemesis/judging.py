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

from collections.abc import Callable, Iterator, Sequence

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

#: Bytes, descriptors or threads that are no growth.
NO_GROWTH = {'rss': 32 << 20, 'fds': 24, 'threads': 24}

#: The programs whose faults explain an error, by its class. An error that is
#: not here is one that no fault of a run explains.
GLANCE = ('glance-api', 'keystone', 'mariadb')
CEPH = ('ceph-mon', 'ceph-osd')
CAUSES: dict[str, tuple[str, ...]] = {
    'GlanceUnavailable': GLANCE,
    'KeystoneUnavailable': GLANCE,
    'StoreUnavailable': GLANCE,
    'RequestFailed': (*GLANCE, *CEPH),
    'TokenRefused': GLANCE,
    'CopyFailed': (*GLANCE, *CEPH),
    'CopyStalled': (*GLANCE, *CEPH),
    'CopyTimedOut': (*GLANCE, *CEPH),
    'CopyQueued': (*GLANCE, *CEPH),
    'CopyRefused': (*GLANCE, *CEPH),
    'ImageHeld': (*GLANCE, *CEPH),
    'ClusterUnreachable': CEPH,
    'DiskUnusable': CEPH,
    'ImageGone': ('deleted',),
    'NotActive': ('deactivated',),
}


def every_boot_ends(events: Sequence[Event]) -> Iterator[str]:
    """Each that was to begin has ended, within its bound."""
    for boot in _of(events, 'boot'):
        seconds = boot.details.get('seconds')
        bound = boot.details['timeout'] + SLACK
        if seconds is None:
            yield f'{boot.about} did not end'
        elif seconds > bound:
            yield f'{boot.about} took {seconds:.0f} s, bound {bound:.0f} s'


def errors_are_documented(events: Sequence[Event]) -> Iterator[str]:
    """An error is one of the driver's own."""
    for boot in _of(events, 'boot'):
        error = boot.details.get('error')
        if error and not hasattr(exceptions, error):
            yield f'{boot.about} ended with {error}: {_message(boot)}'


def errors_are_true(events: Sequence[Event]) -> Iterator[str]:
    """What may cause an error was broken when it came, or shortly before."""
    for boot in _of(events, 'boot'):
        error = boot.details.get('error')
        if not error or not hasattr(exceptions, error):
            continue
        ended = boot.at + (boot.details.get('seconds') or 0.0)
        causes = CAUSES.get(error, ())
        if not any(
            fault.startswith(cause) and boot.details['image'] in image
            for fault, image in _broken(events, boot.at, ended)
            for cause in causes
        ):
            yield f'{boot.about} ended with {error}: {_message(boot)}'


def disks_are_clones(events: Sequence[Event]) -> Iterator[str]:
    """Each disk is a clone of the snapshot of its own image."""
    images = {
        boot.about: boot.details['image']
        for boot in _of(events, 'boot')
        if not boot.details.get('error')
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


def nothing_is_left(events: Sequence[Event]) -> Iterator[str]:
    """No RBD image belongs to nobody, unless Glance was broken off."""
    broken_off = any(
        fault.about.startswith((*GLANCE, 'deleted', *CEPH))
        for fault in _of(events, 'fault')
    )
    for left in _of(events, 'left'):
        if left.details['pool'] != 'images' or not broken_off:
            yield f'{left.about} is left in {left.details["pool"]}'


def hosts_level_off(events: Sequence[Event]) -> Iterator[str]:
    """A host needs no more of anything at the end than half-way."""
    by_host: dict[str, list[Event]] = {}
    for sample in _of(events, 'sample'):
        by_host.setdefault(sample.about, []).append(sample)
    for host, samples in by_host.items():
        third = len(samples) // 3
        for name, free in NO_GROWTH.items():
            values = [sample.details[name] for sample in samples]
            middle, last = values[third : 2 * third], values[2 * third :]
            if not third:
                continue
            before, now = max(middle), max(last)
            if now > max(GROWTH * before, free):
                yield f'{name} of {host} grew from {before} to {now}'


def all_is_well_at_the_end(events: Sequence[Event]) -> Iterator[str]:
    """Once all faults are mended, each image boots on both sites."""
    last: dict[tuple[str, str], Event] = {}
    for boot in _of(events, 'boot'):
        if boot.details.get('last'):
            last[boot.details['site'], boot.details['image']] = boot
    for (site, image), boot in last.items():
        if boot.details.get('error'):
            yield f'{image} does not boot in {site}: {_message(boot)}'


Check = Callable[[Sequence[Event]], Iterator[str]]

CHECKS: tuple[Check, ...] = (
    every_boot_ends,
    errors_are_documented,
    errors_are_true,
    disks_are_clones,
    copies_are_whole,
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


def _broken(
    events: Sequence[Event], began: float, ended: float
) -> Iterator[tuple[str, str]]:
    """The faults that were felt between two moments.

    With the images that they were of: all where they are of none.
    """
    every = ' '.join(
        str(boot.details['image']) for boot in _of(events, 'boot')
    )
    for fault in _of(events, 'fault'):
        mended = next(
            (
                event.at
                for event in events
                if event.what == 'mended'
                and event.about == fault.about
                and event.at >= fault.at
            ),
            float('inf'),
        )
        # What was killed in the middle of a copy has left its lock.
        felt = mended + fault.details.get('aftermath', AFTERMATH)
        if fault.at <= ended and began <= felt:
            yield fault.about, fault.details.get('image', every)
