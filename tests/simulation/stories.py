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


"""What happens in one run: a small cloud, its boots, and its faults.

A story is drawn by a seed. It is a value, so that it can be told to a person,
and told again without a part of it (:mod:`tests.simulation.shrinking`).
"""

from collections.abc import Sequence
import dataclasses
import enum
import random

from nova_rbd_multistore import pace

#: Seconds in which faults and boots begin.
SPAN = 60.0

#: Seconds that a replica of Glance's database lags behind, at most: less than
#: what the driver gives an answer to settle.
LONGEST_LAG = 6.0

#: The store that is no cluster.
FILE = 'file'

LIMITS = (
    pace.Limits(15.0, 0.5, 600.0, 300.0),
    pace.Limits(5.0, 0.5, 150.0, 90.0),
    pace.Limits(3.0, 0.5, 100.0, 70.0),
)


@enum.unique
class Kind(enum.StrEnum):
    """What a fault is, in words that tell of it."""

    # Of a glance-api.
    DOWN = 'refuses connections'
    FROZEN = 'is frozen (SIGSTOP)'
    KILLED = 'is killed, and started again after'
    SICK = 'says that its health is bad'
    FAILING = 'answers all with 500'
    PAGE = 'answers all with a page of a proxy (502)'
    CUT = 'cuts its answers off'
    BUSY = 'asks for a pause (503, Retry-After)'
    SLOW = 'takes seconds for an answer'
    LOSSY = 'does what it is asked, and loses half of its answers'
    DEADLOCKED = 'fails at requests for copies (500)'
    STAGING_FULL = 'has no room for staging'
    UPLOADS_FAIL = 'fails in the middle of uploads'
    BEHIND = 'reads from a replica that lags behind'
    FEWER_STORES = 'lacks a store'
    COLD = 'was just started: seconds from a lock to its task'
    TOKENLESS = 'takes service tokens for none (Keystone does not answer it)'
    # Of a site's cluster.
    AWAY = 'does not answer'
    HIDDEN = "does not let Nova's user look into Glance's pool"
    SLUGGISH = 'takes a second for each answer'
    LEFTOVER = 'has half of an image, which nobody is writing'
    DISTANT = 'does what it is told, and loses half of its answers'
    # Of an image.
    DELETED = 'is deleted'
    DEACTIVATED = 'is deactivated'
    WITHDRAWN = 'is shared with project other no longer'
    HELD = 'is hashed for a new location'
    IMPORTED = 'is imported to each site, all or none'
    IMPORTED_ANY = 'is imported to each site, to as many as can be'
    # Of a project.
    EXPIRED = 'has a token that Glance refuses'
    OVER_QUOTA = 'is over its quota'
    # Of a compute host.
    HOST_FROZEN = 'stands still (SIGSTOP)'
    HOST_KILLED = 'dies (SIGKILL)'


OF_API = (
    *(Kind.DOWN, Kind.FROZEN, Kind.KILLED, Kind.SICK, Kind.FAILING),
    *(Kind.PAGE, Kind.CUT, Kind.BUSY, Kind.SLOW, Kind.LOSSY),
    *(Kind.DEADLOCKED, Kind.STAGING_FULL, Kind.UPLOADS_FAIL, Kind.BEHIND),
    *(Kind.FEWER_STORES, Kind.COLD, Kind.TOKENLESS),
)
OF_SITE = (
    *(Kind.AWAY, Kind.HIDDEN, Kind.SLUGGISH, Kind.LEFTOVER, Kind.DISTANT),
)
OF_IMAGE = (
    *(Kind.DELETED, Kind.DEACTIVATED, Kind.WITHDRAWN, Kind.HELD),
    *(Kind.IMPORTED, Kind.IMPORTED_ANY),
)
OF_PROJECT = (Kind.EXPIRED, Kind.OVER_QUOTA)
OF_HOST = (Kind.HOST_FROZEN, Kind.HOST_KILLED)

#: Faults of a glance-api that last, and are felt only by who asks at the right
#: moment: drawn so many times as often as others.
LASTING = (Kind.FROZEN, Kind.BEHIND)
OFTEN = 3

#: The projects: the first owns all images.
PROJECTS = ('demo', 'other')


@dataclasses.dataclass(frozen=True)
class Image:
    """An image that is there when the story begins.

    :ivar shared: whether project other sees it as shared with it; else it is
        public
    """

    name: str
    stores: tuple[str, ...]
    mib: int = 64
    shared: bool = False

    def __str__(self) -> str:
        seen = 'shared with project other' if self.shared else 'public'
        return f'{self.name}: {self.mib} MiB, {seen}, in {self.stores}'


@dataclasses.dataclass(frozen=True)
class Host:
    """A compute host; its site has a store of the same name."""

    name: str
    site: str


@dataclasses.dataclass(frozen=True)
class Boot:
    """A server that is booted.

    :ivar deleted_at: second at which its user deletes it, if that is during
        the boot
    """

    name: str
    at: float
    host: str
    image: str
    project: str
    deleted_at: float | None = None

    def __str__(self) -> str:
        return (
            f'{self.host} boots {self.name} of project {self.project} from '
            f'{self.image}'
        )


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and is mended again.

    :ivar target: name of what has it
    :ivar detail: of what else it is about: the name of an image, a store or a
        glance-api, or seconds
    """

    kind: Kind
    target: str
    at: float
    seconds: float
    detail: str = ''

    def __str__(self) -> str:
        about = f' ({self.detail})' if self.detail else ''
        return f'{self.target} {self.kind}{about}, {self.seconds:.1f} s'


@dataclasses.dataclass(frozen=True)
class Story:
    """One run.

    :ivar apis: names of the glance-apis
    :ivar staging: seconds that a copy takes to be staged; ``upload`` likewise
    :ivar threads: for copies, of each glance-api
    """

    seed: int
    apis: tuple[str, ...]
    sites: tuple[str, ...]
    hosts: tuple[Host, ...]
    images: tuple[Image, ...]
    boots: tuple[Boot, ...]
    faults: tuple[Fault, ...]
    limits: pace.Limits
    staging: float = 1.0
    upload: float = 2.0
    threads: int = 16

    def __str__(self) -> str:
        lines = [
            f'Seed {self.seed}: {len(self.apis)} glance-apis with '
            f'{self.threads} threads for copies each. A copy is staged for '
            f'{self.staging:.1f} s and uploaded for {self.upload:.1f} s.',
            'Hosts: '
            + ', '.join(f'{host.name} of {host.site}' for host in self.hosts),
            f'They poll every {self.limits.poll_interval:.0f} s, wait for '
            f'{self.limits.timeout:.0f} s, without a sign of life for '
            f'{self.limits.stall_timeout:.0f} s.',
            *map(str, self.images),
        ]
        happens: list[Boot | Fault] = [*self.boots, *self.faults]
        happens.sort(key=lambda one: one.at)
        lines += [f'{one.at:7.2f} {one}' for one in happens]
        return '\n'.join(lines)


def draw(seed: int) -> Story:
    """The story of a seed."""
    rng = random.Random(seed)
    apis = tuple(f'api-{number + 1}' for number in range(rng.randint(1, 3)))
    sites = ('west', 'east')[: rng.randint(1, 2)]
    hosts = tuple(
        Host(f'{site}-{number + 1}', site)
        for site in sites
        for number in range(rng.randint(1, 2))
    )
    images = tuple(
        _image(rng, f'image-{number + 1}', sites)
        for number in range(rng.choice((1, 1, 2)))
    )
    busy = rng.choice((0.2, 2.0, 10.0, SPAN))
    boots = tuple(
        _boot(rng, f'vm-{number + 1}', hosts, images, busy)
        for number in range(rng.randint(1, 5))
    )
    story = Story(
        seed,
        apis,
        sites,
        hosts,
        images,
        boots,
        (),
        rng.choice(LIMITS),
        staging=rng.choice((0.2, 1.0, 20.0)),
        upload=rng.choice((0.5, 3.0, 30.0, 150.0)),
        threads=rng.choice((1, 16)),
    )
    faults = tuple(
        fault
        for _ in range(rng.choice((0, 1, 1, 2, 3, 4)))
        for fault in _faults(rng, story)
    )
    return dataclasses.replace(story, faults=faults)


def _image(rng: random.Random, name: str, sites: Sequence[str]) -> Image:
    return Image(
        name,
        rng.choice(((FILE,), (FILE,), (sites[-1],), (FILE, sites[0]))),
        mib=rng.choice((16, 64)),
        shared=rng.random() < 0.2,
    )


def _boot(
    rng: random.Random,
    name: str,
    hosts: Sequence[Host],
    images: Sequence[Image],
    busy: float,
) -> Boot:
    at = _when(rng, busy)
    deleted = rng.random() < 0.1
    return Boot(
        name,
        at,
        rng.choice(hosts).name,
        rng.choice(images).name,
        rng.choice(('demo', 'demo', 'other')),
        at + _when(rng, 20.0) if deleted else None,
    )


def _faults(rng: random.Random, story: Story) -> Sequence[Fault]:
    """A fault, or the same one of all glance-apis."""
    of, kinds = rng.choice(
        (
            *((story.apis, (*OF_API, *LASTING * (OFTEN - 1))),) * 6,
            *((story.sites, OF_SITE),) * 2,
            *(([image.name for image in story.images], OF_IMAGE),) * 2,
            (PROJECTS, OF_PROJECT),
            ([host.name for host in story.hosts], OF_HOST),
        )
    )
    kind = rng.choice(kinds)
    targets = [rng.choice(of)]
    if kind in OF_API and rng.random() < 0.2:
        targets = list(of)
    lengths = (45.0, 150.0) if kind in LASTING else (1.0, 10.0, 45.0, 150.0)
    seconds = rng.choice(lengths) * rng.uniform(0.5, 1.5)
    # Before all boots, at a turn of one of them, or at any time.
    begun = rng.choice(story.boots).at
    at = rng.choice(
        (0.0, begun, begun + _when(rng, 10.0), _when(rng, SPAN / 2))
    )
    detail = ''
    if kind is Kind.FEWER_STORES:
        detail = rng.choice((FILE, *story.sites))
    elif kind is Kind.LEFTOVER:
        detail = rng.choice(story.images).name
    elif kind in (Kind.IMPORTED, Kind.IMPORTED_ANY):
        detail = rng.choice(story.apis)
    elif kind in (Kind.BEHIND, Kind.COLD):
        detail = f'{rng.uniform(0.5, LONGEST_LAG):.1f}'
    return [Fault(kind, target, at, seconds, detail) for target in targets]


def _when(rng: random.Random, latest: float) -> float:
    # To hundredths, so that a story can be written down.
    return round(rng.uniform(0.0, latest), 2)
