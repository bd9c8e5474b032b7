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


"""A run: a story happens, on one virtual clock, in one thread.

From the finder down to the requests, the package is the real one. What is
below is not: Glance's rules and the cluster's are those of ``tests/fakes``.
"""

from collections.abc import Callable
import contextlib
import datetime
import functools
import logging
import random
import re
from typing import Any
import uuid

from keystoneauth1 import token_endpoint

from benchmarks.fleet import clock as clocks
from benchmarks.fleet import glance
from benchmarks.fleet import ours
from nova_rbd_multistore import task as task_values
from tests.fakes import cluster as clusters
from tests.fakes import endpoint as endpoints
from tests.fakes import glance_api
from tests.simulation import history as histories
from tests.simulation import processes
from tests.simulation import stories

Kind = stories.Kind

#: Tokens of the projects.
TOKENS = {'demo': endpoints.USER, 'other': 'token-of-other'}

#: Requests that one glance-api serves at a time.
WORKERS = 16

#: Seconds from the end of all faults and boots to the last boots.
REST = 65.0

#: How often somebody boots again who was told to, and seconds from one boot to
#: the next where the error gives no time.
PATIENCE = 12
LATER = 300.0

#: Steps of a run after which something goes round in circles.
MOST_STEPS = 400_000

_AT = re.compile(r'over at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC')
_EPOCH = datetime.datetime(2026, 1, 1)


class Endless(Exception):
    """A run that does not come to an end."""


class Unwanted(Exception):
    """The server of a boot was deleted, as Nova says it."""


class Clock(clocks.Clock):
    """One that does not run for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Endless(f'at second {self.now:.0f}')
        super().after(seconds, event)


class Rules(glance_api.GlanceApi):
    """Glance's rules, and notes of what it does.

    :ivar over_quota: projects whose quota is used up
    """

    def __init__(
        self,
        history: histories.History,
        names: dict[str, str],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._history = history
        self._names = names
        self._copies: dict[tuple[str, str], histories.Copy] = {}

    def _use_threads(self, endpoint: str) -> None:
        for task in self.tasks.values():
            for store in task.stores:
                if (task.id, store) in self._copies:
                    continue
                copy = histories.Copy(
                    task.id,
                    self._names[task.image],
                    store,
                    self._names[task.endpoint],
                    task.owner,
                    self.clock.now,
                )
                self._copies[task.id, store] = copy
                self._history.copies.append(copy)
        super()._use_threads(endpoint)

    def _say(self, task: glance_api.Task, status: str, message: str) -> None:
        super()._say(task, status, message)
        for store in task.stores:
            self._note(task, store, status, message)

    def _fail(
        self,
        image: glance_api.Image,
        task: glance_api.Task,
        store: str,
        reason: str,
    ) -> None:
        super()._fail(image, task, store, reason)
        if not task.must_all:
            # Whatever becomes of the task, which may fill other stores.
            self._note(task, store, 'failure', reason)

    def _note(
        self, task: glance_api.Task, store: str, status: str, message: str
    ) -> None:
        copy = self._copies.get((task.id, store))
        if copy is not None and copy.ended is None:
            copy.said.append((self.clock.now, status, message))

    def _locate(self, image: glance_api.Image, store: str) -> None:
        super()._locate(image, store)
        self.note(image.id, store, 'listed')

    def note(self, image: str, store: str, what: str) -> None:
        self._history.changes.append(
            histories.Change(
                self.clock.now, self._names.get(image, image), store, what
            )
        )


class Site(clusters.Cluster):
    """A site's cluster, and notes of what comes into it.

    :ivar faults: that it has now
    """

    def __init__(
        self, name: str, clock: clocks.Clock, note: Callable[..., None]
    ) -> None:
        super().__init__(f'fsid-{name}', clock.monotonic)
        self.name = name
        self.faults: set[Kind] = set()
        self._note_change = note

    def write(self, name: str, size: int, pool: str = 'images') -> None:
        before = self.images.get((pool, name))
        if before is None or before.size != size:
            self._note_change(name, self.name, 'more' if before else 'begun')
        super().write(name, size, pool)

    def complete(self, name: str, pool: str = 'images') -> str:
        found = self.images.get((pool, name))
        if found is None or not found.snapshots:
            self._note_change(name, self.name, 'complete')
        return super().complete(name, pool)

    def remove(self, name: str, pool: str = 'images') -> None:
        if (pool, name) in self.images:
            self._note_change(name, self.name, 'gone')
        super().remove(name, pool)


class World:
    """The cloud of a story."""

    def __init__(self, story: stories.Story) -> None:
        self.clock = Clock()
        self.history = histories.History(story)
        self._story = story
        self._ended = 0
        self._names: dict[str, str] = {}
        ids = self._chance('ids')
        self.sites = {
            name: Site(name, self.clock, self._note_change)
            for name in story.sites
        }
        self.rules = Rules(
            self.history,
            self._names,
            self.clock,
            {stories.FILE: None, **self.sites},
            story.threads,
            new_id=lambda: str(uuid.UUID(int=ids.getrandbits(128))),
        )
        self.rules.pace = glance_api.Pace(
            staging=story.staging, upload=story.upload
        )
        self.apis = processes.Apis(
            self.rules.stores,
            len(story.apis),
            WORKERS,
            rules=self.rules,
            clock=self.clock,
            rng=self._chance('answers'),
        )
        self._urls = dict(zip(story.apis, self.apis.urls, strict=True))
        for name, url in self._urls.items():
            self._names[url.rstrip('/')] = self._names[url] = name
        for endpoint in self.apis.endpoints.values():
            endpoint.users = {
                token: project for project, token in TOKENS.items()
            }
        self._images: dict[str, glance_api.Image] = {}
        for image in story.images:
            self._add(image)
        self._processes: dict[str, processes.Process] = {}
        self.computes: dict[str, ours.Compute] = {}
        self._sessions: dict[tuple[str, str], processes.Session] = {}
        for host in story.hosts:
            self._start(host)

    def _chance(self, name: str) -> random.Random:
        # Of its own for each, so that a story goes on as it did without some
        # of its parts.
        return random.Random(f'{self._story.seed} {name}')

    def _add(self, image: stories.Image) -> None:
        size = image.mib * glance_api.MIB
        made = self.rules.add_image(
            visibility='shared' if image.shared else 'public',
            members={'other'} if image.shared else set(),
            size=size,
        )
        self._names[made.id] = image.name
        made.locations.clear()
        self._images[image.name] = made
        for store in image.stores:
            self.rules._locate(made, store)

    def _start(self, host: stories.Host) -> None:
        chance = self._chance(host.name)
        process = processes.Process(self.clock)
        site = self.sites[host.site]
        self._processes[host.name] = process
        for project, token in TOKENS.items():
            self._sessions[host.name, project] = processes.Session(
                self.apis,
                functools.partial(_latency, chance),
                token,
                process,
                functools.partial(self._note_request, host.name),
            )
        self.computes[host.name] = ours.Compute(
            host.name,
            host.site,
            processes.Cluster(site, site.faults, process, chance),
            self._sessions[host.name, 'demo'],
            token_endpoint.Token('http://keystone', 'token'),
            self.apis.urls,
            self._story.limits,
            process,
            clocks.Programs(process),
            chance,
            self.clock.utcnow,
        )

    # What happens

    def run(self) -> histories.History:
        """Have it all happen.

        :raises Endless: if it does not come to an end
        """
        for fault in self._story.faults:
            self.clock.after(fault.at, functools.partial(self._begin, fault))
        for boot in self._story.boots:
            self.clock.after(
                boot.at,
                functools.partial(
                    self.clock.start, functools.partial(self._boot, boot)
                ),
            )
        self.clock.start(self._recover)
        self.clock.run()
        self._look_for_what_is_left()
        return self.history

    def _boot(self, boot: stories.Boot, *, last: bool = False) -> None:
        host = next(
            host for host in self._story.hosts if host.name == boot.host
        )
        noted = histories.Boot(
            boot.name,
            boot.host,
            host.site,
            boot.image,
            boot.project,
            self.clock.now,
            last,
        )
        self.history.boots.append(noted)

        def check() -> None:
            if boot.deleted_at is not None and (
                self.clock.now >= boot.deleted_at
            ):
                raise Unwanted

        compute = self.computes[boot.host]
        try:
            self._processes[boot.host].go_on()
            parent = compute.boot(
                self._images[boot.image].id,
                compute.as_user(self._sessions[boot.host, boot.project]),
                boot.project,
                boot.name,
                check,
            )
        except processes.Killed:
            noted.outcome = histories.KILLED
        except Unwanted:
            noted.outcome = histories.UNWANTED
        except Endless:
            raise
        except Exception as exc:
            noted.outcome = type(exc).__name__
            noted.message = str(exc)
        else:
            noted.outcome = histories.DISK
            image = self._names.get(parent.image, parent.image)
            noted.parent = parent.fsid, image, parent.snapshot
        noted.ended = self.clock.now
        noted.wanted = (
            boot.deleted_at is None or boot.deleted_at > self.clock.now
        )
        self._ended += 1

    def _recover(self) -> None:
        """When all is over, boot each image on each site once more."""
        story = self._story
        ends = [fault.at + fault.seconds for fault in story.faults]
        ends += [boot.at for boot in story.boots]
        self.clock.sleep(max(ends, default=0.0))
        # Longer than any boot may take.
        limit = self.clock.now + 2 * story.limits.timeout + 20 * REST
        while self._ended < len(story.boots) and self.clock.now < limit:
            self.clock.sleep(1.0)
        self.clock.sleep(REST)
        # The last boots would remove them.
        self._look_for_leases()
        chance = self._chance('last')
        for site in story.sites:
            for image in story.images:
                projects = stories.PROJECTS[: 1 if image.shared else 2]
                self._boot_until_it_runs(
                    site, image.name, chance.choice(projects)
                )

    def _boot_until_it_runs(self, site: str, image: str, user: str) -> None:
        """Do what errors say."""
        made = self._images[image]
        alive = [
            host.name
            for host in self._story.hosts
            if host.site == site and not self._processes[host.name].is_dead
        ]
        if not alive:
            return
        for attempt in range(PATIENCE):
            if made.id not in self.rules.images or not made.locations:
                return
            name = f'last-{site}-{image}-{attempt}'
            self._boot(
                stories.Boot(name, self.clock.now, alive[0], image, user),
                last=True,
            )
            ended = self.history.boots[-1]
            if ended.outcome == histories.DISK:
                return
            until = _AT.search(ended.message)
            if until:
                moment = datetime.datetime.fromisoformat(until[1]) - _EPOCH
                self.clock.sleep(
                    max(moment.total_seconds() + 1 - self.clock.now, 0.0)
                )
            elif 'that Glance does not show' in ended.message or (
                'Glance does not show that task' in ended.message
            ):
                self.clock.sleep(task_values.LOCK_KEPT.total_seconds())
            elif ended.outcome == 'CopyFailed' and (
                site not in made.locations
            ):
                self.sites[site].remove(made.id)
            elif ended.outcome == 'CopyTimedOut':
                self.clock.sleep(LATER)
            elif ended.outcome == 'NotInCluster':
                made.locations.pop(site, None)

    def _look_for_what_is_left(self) -> None:
        left = self.history.left
        self._look_for_leases()
        dead = {
            name
            for name, process in self._processes.items()
            if process.is_dead
        }
        for name, compute in self.computes.items():
            if name in dead:
                continue
            finder, known = compute._finder, compute._means.known
            if finder._copies._running or finder._turns._running:
                left.append(f'shared work on {name}')
            if known._claims:
                left.append(f'claims of endpoints on {name}')
            if known._trials:
                left.append(f'trials of endpoints on {name}')

    def _look_for_leases(self) -> None:
        self.history.left += [
            f'a lease in {site.name}'
            for site in self.sites.values()
            for _ in site.leases
        ]

    # Faults

    def _begin(self, fault: stories.Fault) -> None:
        self.history.spells.append(
            histories.Spell(
                fault.kind,
                fault.target,
                self.clock.now,
                self.clock.now + fault.seconds,
                fault.detail,
            )
        )
        if fault.kind in stories.OF_API:
            end = self._begin_of_api(fault)
            self.clock.after(fault.seconds, end)
            return
        if fault.kind in stories.OF_SITE:
            end = self._begin_of_site(fault)
        elif fault.kind in stories.OF_IMAGE:
            end = self._begin_of_image(fault)
        elif fault.kind in stories.OF_PROJECT:
            end = self._begin_of_project(fault)
        else:
            end = self._begin_of_host(fault)

        def over() -> None:
            if not self._has_again(fault):
                end()

        self.clock.after(fault.seconds, over)

    def _has_again(self, fault: stories.Fault) -> bool:
        """Whether the same has befallen its target while it was so."""
        return any(
            spell.began <= self.clock.now < spell.ended
            for spell in self.history.spells
            if (spell.kind, spell.target) == (fault.kind, fault.target)
        )

    def _begin_of_api(self, fault: stories.Fault) -> Callable[[], object]:
        url = self._urls[fault.target]
        api, name = self.apis.processes[url], url.rstrip('/')
        if fault.kind in api.faults:
            # Its end is that of the first.
            return _nothing
        api.faults[fault.kind] = fault.detail
        end: Callable[[], object] = _nothing
        match fault.kind:
            case Kind.KILLED:
                api.starts += 1
                self.rules.kill(name)
                api.thaw(self.clock)
            case Kind.FROZEN:
                self.rules.freeze(name)

                def end() -> None:
                    self.rules.thaw(name)
                    api.thaw(self.clock)
            case Kind.STAGING_FULL:
                self.rules.faults[name] = 'staging', 'staging is full'
                end = functools.partial(self.rules.faults.pop, name, None)
            case Kind.UPLOADS_FAIL:
                self.rules.faults[name] = 'half-way', 'the upload broke off'
                end = functools.partial(self.rules.faults.pop, name, None)
            case Kind.BEHIND:
                self.rules.lag(name, float(fault.detail))
                end = functools.partial(self.rules.lag, name, 0)
            case Kind.COLD:
                self.rules.loads[name] = float(fault.detail)
                end = functools.partial(self.rules.loads.pop, name)
            case Kind.FEWER_STORES:
                self.rules.stores_of[name] = {*self.rules.stores} - {
                    fault.detail
                }
                end = functools.partial(self.rules.stores_of.pop, name)

        def over() -> None:
            del api.faults[fault.kind]
            end()

        return over

    def _begin_of_site(self, fault: stories.Fault) -> Callable[[], object]:
        site = self.sites[fault.target]
        if fault.kind is Kind.LEFTOVER:
            image = self._images[fault.detail]
            if ('images', image.id) not in site.images:
                site.write(image.id, glance_api.MIB)
            return _nothing
        site.faults.add(fault.kind)
        site.hidden = Kind.HIDDEN in site.faults

        def end() -> None:
            site.faults.discard(fault.kind)
            site.hidden = Kind.HIDDEN in site.faults

        return end

    def _begin_of_image(self, fault: stories.Fault) -> Callable[[], object]:
        image = self._images[fault.target]
        match fault.kind:
            case Kind.DELETED:
                owner = glance_api.Requester()
                # Where it is refused, not all of it is there any more.
                with contextlib.suppress(glance_api.Refusal):
                    self.rules.delete(owner, image.id)
                self.rules.note(image.id, '', 'deleted')
                return _nothing
            case Kind.DEACTIVATED:
                image.status = 'deactivated'
                return functools.partial(setattr, image, 'status', 'active')
            case Kind.WITHDRAWN:
                shared = {
                    'other'
                    for one in self._story.images
                    if one.name == fault.target and one.shared
                }
                image.members = set()
                return functools.partial(setattr, image, 'members', shared)
            case Kind.IMPORTED | Kind.IMPORTED_ANY:
                self.clock.start(lambda: self._import(image, fault))
                return _nothing
            case _:
                if glance_api.LOCK not in image.properties:
                    self.rules.hold(image, fault.seconds)
                return _nothing

    def _import(self, image: glance_api.Image, fault: stories.Fault) -> None:
        url = self._urls[fault.detail]
        away = {Kind.DOWN, Kind.KILLED, Kind.FROZEN}
        stores = [name for name in self.sites if name not in image.locations]
        if not stores or away & self.apis.processes[url].faults.keys():
            return
        body = {
            'method': {'name': 'copy-image'},
            'stores': stores,
            'all_stores_must_succeed': fault.kind is Kind.IMPORTED,
        }
        owner = glance_api.Requester(service=True)
        with contextlib.suppress(glance_api.Refusal):
            self.rules.import_image(owner, image.id, body, url.rstrip('/'))

    def _begin_of_project(self, fault: stories.Fault) -> Callable[[], object]:
        if fault.kind is Kind.OVER_QUOTA:
            self.rules.limits[fault.target] = -1
            return functools.partial(self.rules.limits.pop, fault.target, None)
        token = TOKENS[fault.target]
        for endpoint in self.apis.endpoints.values():
            endpoint.users.pop(token, None)

        def end() -> None:
            for endpoint in self.apis.endpoints.values():
                endpoint.users[token] = fault.target

        return end

    def _begin_of_host(self, fault: stories.Fault) -> Callable[[], object]:
        process = self._processes[fault.target]
        if fault.kind is Kind.HOST_KILLED:
            process.kill()
        else:
            process.freeze(fault.seconds)
        return _nothing

    # Notes

    def _note_change(self, image: str, store: str, what: str) -> None:
        self.rules.note(image, store, what)

    def _note_request(
        self, host: str, began: float, api: str, question: str, status: int
    ) -> None:
        for known, name in self._names.items():
            question = question.replace(known, name)
        self.history.requests.append(
            histories.Request(
                began,
                self.clock.now,
                host,
                self._names[api],
                question,
                status,
            )
        )


def run(story: stories.Story) -> histories.History:
    """Have a story happen.

    :raises Endless: if it does not come to an end
    """
    return World(story).run()


class Log(logging.Handler):
    """What the package logs, with the second of the run.

    :ivar lines: so far
    """

    def __init__(self, clock: clocks.Clock) -> None:
        super().__init__()
        self._clock = clock
        self.lines: list[tuple[float, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((self._clock.now, record.getMessage()))


def _latency(rng: random.Random, path_end: str) -> float:
    typical = glance.SECONDS.get(path_end, glance.SECONDS_OTHERWISE)
    return typical * rng.uniform(0.7, 1.6)


def _nothing() -> None:
    """At the end of what has no end, or another."""
