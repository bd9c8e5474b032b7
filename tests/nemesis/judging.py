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
from collections.abc import Callable, Iterator, Sequence
import datetime
import math
import re

from nova_rbd_multistore import exceptions
from tests.nemesis import causes as causes_
from tests.nemesis import events as events_

Event = events_.Event
AFTERMATH = causes_.AFTERMATH

#: Where each image has to boot in the end.
SITES = ('east', 'west')

#: Seconds that a boot may take beyond its time-out: a last question to each
#: of two glance-apis, and the clone.
SLACK = 150.0

#: What the hosts of a run may grow by, from the middle of it to its end.
GROWTH = 1.5

#: Bytes, descriptors or threads that are no growth. Connections are kept, ten
#: to each of two glance-apis and Keystone, beside those to Ceph.
NO_GROWTH = {'rss': 32 << 20, 'fds': 64, 'threads': 24}

#: What no host needs for good, however it came to that: 1.7 times the most
#: that was seen of any that had lived for half an hour.
MOST = {'rss': 384 << 20, 'fds': 72, 'threads': 54}

#: Boots under way at a time at which it is known what a host keeps.
CALM = 2

#: Samples of a third of a process' life that are too few to tell.
SETTLED = 10

#: Seconds for which an answer about an image may be out of date.
LATE = 5.0

#: Seconds that Nova may take to delete a server.
DELETED = 300.0

#: What kills a host's process is about itself.
KILLS = ('killed', 'stopped')

#: What loses Nova's messages, and what has a server fail.
NOVA = (r'(keystone|mariadb|rabbitmq|network)\b', r'compute-{site}\b')
SERVERS = (
    *(*NOVA, r'glance-api-\d+(-network)? (?!staging)', 'glance-api: all '),
    *(r'ceph-', 'deleted', 'deactivated'),
)

#: What a server is in when it has failed, or could not be unshelved.
FAILED = ('ERROR', 'SHELVED_OFFLOADED')

#: The errors that say when Glance lets a copy be taken over, and how.
HELD = {'CopyStalled', 'CopyQueued', 'ImageHeld'}
_TAKEN_OVER = re.compile(r'taken over at (once|[\d-]+ [\d:]+) ?(UTC)?')

#: What other errors tell to do can be done when all faults are over, too.
TRANSIENT = {'CopyFailed', 'CopyTimedOut', 'CopyRefused', 'NotInCluster'}


def every_boot_ends(events: Sequence[Event]) -> Iterator[str]:
    """Each that was to begin has ended, within its bound."""
    causes = causes_.Causes(events)
    for boot in _of(events, 'boot'):
        seconds = boot.details.get('seconds')
        host = boot.details['host']
        bound = boot.details['timeout'] + SLACK
        if seconds is None:
            if not any(
                # It does nothing while its host is frozen.
                0.0 <= kill.at - boot.at <= bound + causes.idle(boot, kill.at)
                for kill in causes.spells
                if kill.name in [f'{host} {how}' for how in KILLS]
            ):
                yield f'{boot.about} did not end'
            continue
        bound += causes.idle(boot, causes_.ended(boot))
        if seconds > bound:
            yield f'{boot.about} took {seconds:.0f} s, bound {bound:.0f} s'
    for hang in _of(events, 'hang'):
        yield f'{hang.about} did not end when it was stopped'


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
    causes = causes_.Causes(events)
    for boot in _of(events, 'boot'):
        error = boot.details.get('error')
        if not error or not hasattr(exceptions, error):
            continue
        if not causes.explain(boot, error):
            yield f'{boot.about} ended with {error}: {_message(boot)}'


def nobody_boots_without_the_right(events: Sequence[Event]) -> Iterator[str]:
    """Whoever has a disk could see the image at that time."""
    images = _by_name(events, 'image')
    spells = causes_.certain(events)
    gone = {event.about: event.at for event in _of(events, 'gone')}
    for boot in _of(events, 'boot'):
        if not _has_disk(boot):
            continue
        name = boot.details['image']
        for error in causes_.own_errors(boot, images) & FINAL:
            yield f'{boot.about} has a disk, and not {error}'
        if gone.get(name, math.inf) < boot.at - LATE:
            yield f'{boot.about} has a disk of {name}, which was gone'
        for spell in spells:
            if (
                spell.felt_by.get('image') == name
                and spell.name in _hides_from(boot)
                and spell.at < boot.at - LATE
                and causes_.ended(boot) < spell.mended
            ):
                yield f'{boot.about} has a disk of {name}: {spell.name}'


def servers_settle(events: Sequence[Event]) -> Iterator[str]:
    """A server is up; or in error, or lost by Nova, by what was broken."""
    causes, images = causes_.Causes(events), _by_name(events, 'image')
    for server in _of(events, 'server'):
        status = server.details['status']
        if status == 'ACTIVE':
            continue
        image = server.details.get('image', '')
        site = server.details.get('site', '')
        # Nova may have lost a message, and only then does a server hang.
        patterns = [
            pattern.replace('{site}', site)
            for pattern in (SERVERS if status in FAILED else NOVA)
        ]
        # Where Glance's lock is why, whatever has left that is.
        uploaded = images[image].at if image in images else server.at
        since = server.at
        if status in FAILED and 'opy' in _message(server):
            since = min(uploaded, since)
        if not causes.had(patterns, since, causes_.ended(server), image):
            yield f'server {server.about} is {status}: {_message(server)}'


def disks_are_clones(events: Sequence[Event]) -> Iterator[str]:
    """Each disk is a clone of the snapshot of its own image."""
    images = {
        boot.about: boot.details['image']
        for boot in _of(events, 'boot')
        if _has_disk(boot)
    }
    seen = {disk.about: disk.details['parent'] for disk in _of(events, 'disk')}
    # A run that was broken off has not looked.
    is_over = bool(_of(events, 'end'))
    for name, image in images.items():
        if name not in seen:
            if is_over:
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
        fault.details['felt_by']['image']
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
    """No RBD image belongs to nobody, unless who made it was broken off."""
    causes = causes_.Causes(events)
    servers = _deleted_servers(events)
    for left in (*_of(events, 'left'), *_of(events, 'removed')):
        pool = left.details['pool']
        if pool == 'images':
            excused = _is_excused(left.about, events, causes)
        elif left.about in servers:
            # While Nova's API takes a host for one that is down, it deletes
            # servers in the database alone; their host finds the guests within
            # half an hour.
            start, asked = servers[left.about]
            patterns = [each.replace('{site}', r'\w+') for each in NOVA]
            excused = causes.had(patterns, start, asked + DELETED, '')
        else:
            excused = False
        if not excused:
            yield f'{left.about} is left in {pool}'
    boots = _by_name(events, 'boot')
    for disk in _of(events, 'disk'):
        boot = boots.get(disk.about)
        if boot is None or not boot.details['error']:
            continue
        site = boot.details['site']
        patterns = [
            pattern.replace('{site}', site) for pattern in causes_.CLUSTER
        ]
        if not causes.had(patterns, boot.at, causes_.ended(boot), ''):
            yield f'{disk.about} is left in vms of {boot.details["error"]}'


def _is_excused(
    image: str, events: Sequence[Event], causes: causes_.Causes
) -> bool:
    """Whether data of an image may be in a cluster that Glance knows not."""
    if any(gone.about == image for gone in _of(events, 'gone')):
        return True
    begun = min(
        (
            event.at
            for event in events
            if event.about == image and event.what in ('image', 'snapshot')
        ),
        default=-math.inf,
    )
    last = max(
        (
            causes_.ended(boot)
            for boot in _of(events, 'boot')
            if boot.details['image'] == image
        ),
        default=begun + DELETED,
    )
    return causes.had((*causes_.COPYING, 'deleted'), begun, last, image)


def _deleted_servers(
    events: Sequence[Event],
) -> dict[str, tuple[float, float]]:
    """The disks of servers: since when, and when they were to be deleted."""
    began: dict[str, float] = {}
    asked: dict[str, float] = {}
    for server in _of(events, 'server'):
        began.setdefault(server.about, server.at)
        asked[server.about] = causes_.ended(server)
    # In the end all are deleted, again.
    for deleted in reversed(_of(events, 'server deleted')):
        asked[deleted.about] = deleted.at
    for deleted in _of(events, 'servers'):
        for server in deleted.details['ids']:
            # One whose making nobody was told of.
            asked.setdefault(server, deleted.at)
    return {
        f'{server}_disk': (began.get(server, -math.inf), at)
        for server, at in asked.items()
    }


def hosts_level_off(events: Sequence[Event]) -> Iterator[str]:
    """A process needs no more of anything in the end than half-way.

    When few boots are under way: those that wait have threads and connections.
    Nor does it need more than any host does.
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
            if now > MOST[name]:
                yield f'{name} of {process} is {now}, at most {MOST[name]}'


def all_is_well_at_the_end(events: Sequence[Event]) -> Iterator[str]:
    """Once all faults are mended, each image boots on both sites.

    Once what an error has said was done: it says what to do, and when.
    """
    for boot in failed_at_last(events):
        where = f'{boot.details["image"]} does not boot in'
        yield f'{where} {boot.details["site"]}: {_message(boot)}'
    for boot in _failed(events):
        error, message = boot.details['error'], boot.details['message']
        if error not in HELD | TRANSIENT or (
            error in HELD and not _TAKEN_OVER.search(message)
        ):
            yield f'{boot.about} is not told what to do: {_message(boot)}'
    if not _of(events, 'end'):
        return
    gone = _by_name(events, 'gone')
    booted = {
        (boot.details['image'], boot.details['site'])
        for boot in _of(events, 'boot')
        if boot.details.get('last')
    }
    for image in _by_name(events, 'image').keys() - gone.keys():
        for site in SITES:
            if (image, site) not in booted:
                yield f'{image} was not booted in {site}'


def failed_at_last(events: Sequence[Event]) -> list[Event]:
    """The last boots that did not end as they have to, once all is well."""
    failed = {boot.about for boot in _failed(events)}
    last: dict[tuple[str, str, str], Event] = {}
    for boot in _of(events, 'boot'):
        if boot.details.get('last'):
            key = ('site', 'image', 'user')
            site, image, user = (boot.details[name] for name in key)
            last[site, image, user] = boot
    return [boot for boot in last.values() if boot.about in failed]


def _failed(events: Sequence[Event]) -> list[Event]:
    """Boots of the end with an error that is not the image's own."""
    images = _by_name(events, 'image')
    # What could not be given back, a run notes as a hitch.
    kept = [
        spell.felt_by.get('image')
        for spell in causes_.spells(events)
        if spell.mended == math.inf and spell.name != 'deleted'
    ]
    return [
        boot
        for boot in _of(events, 'boot')
        if boot.details.get('last')
        and boot.details['error']
        and boot.details['error'] not in causes_.own_errors(boot, images)
        and boot.details['image'] not in kept
    ]


def taken_over(message: str) -> datetime.datetime | None:
    """When a copy can be taken over, by what an error says."""
    found = _TAKEN_OVER.search(message)
    if found is None or found[1] == 'once':
        return None
    return datetime.datetime.fromisoformat(f'{found[1]}+00:00')


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


#: Of the errors that an image itself explains, those that leave no way to a
#: disk.
FINAL = {'NotRaw', 'ImageGone'}


def _by_name(events: Sequence[Event], what: str) -> dict[str, Event]:
    return {event.about: event for event in _of(events, what)}


def _hides_from(boot: Event) -> tuple[str, ...]:
    if boot.details['user'] == 'other':
        return ('deactivated', 'withdrawn')
    return ('deactivated',)
