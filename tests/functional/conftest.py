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

"""The lab's cloud, for tests that need real services.

The lab must be up, with our driver: ``tools/lab up``. A service that does not
run is an error, never a skip.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
import signal
import time
from typing import Any
import uuid

from keystoneauth1.identity import v3
from openstack import connection
from openstack import exceptions as sdk_exceptions
import pytest

from lab import cloud
from lab import layout
from lab import leaks
from lab import programs
from tests.rig import apis
from tests.rig import clusters
from tests.rig import compute_services
from tests.rig import database
from tests.rig import hosts
from tests.rig import image_files
from tests.rig import logs
from tests.rig import polling
from tests.rig import servers as nova_servers


@pytest.fixture(scope='session')
def where() -> layout.Layout:
    return layout.Layout.from_environment()


@pytest.fixture(scope='session', autouse=True)
def private_files() -> Iterator[None]:
    """What a test writes is for root alone, as all of the lab is."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture(scope='session', autouse=True)
def process_list(where: layout.Layout) -> Iterator[None]:
    """No secret shows in the list of processes, whatever a test runs."""
    search = leaks.Search(where, leaks.Secrets.of(where))
    with leaks.Watch(search.in_processes) as watch:
        yield
    assert not watch.leaks


@pytest.fixture(scope='session')
def supervisor(where: layout.Layout) -> programs.Supervisor:
    found = programs.Supervisor(where)
    stopped = [
        status.name
        for status in found.status().values()
        if not status.state.alive
    ]
    assert found.is_running(), 'the lab is down: tools/lab up'
    assert not stopped, f'not running in the lab: {stopped}'
    return found


@pytest.fixture(scope='session')
def admin(where: layout.Layout) -> connection.Connection:
    return cloud.connect('admin', where)


@pytest.fixture(scope='session')
def demo(where: layout.Layout) -> connection.Connection:
    return cloud.connect('demo', where)


@pytest.fixture(scope='session')
def other(where: layout.Layout) -> connection.Connection:
    return cloud.connect('other', where)


@pytest.fixture
def demo_user(demo: connection.Connection) -> hosts.User:
    return hosts.user_of(demo)


@pytest.fixture
def user_of() -> Callable[[connection.Connection], hosts.User]:
    return hosts.user_of


@pytest.fixture(scope='session')
def east(where: layout.Layout) -> Iterator[clusters.Cluster]:
    with clusters.Cluster(where.sites[0]) as cluster:
        yield cluster


@pytest.fixture(scope='session')
def west(where: layout.Layout) -> Iterator[clusters.Cluster]:
    with clusters.Cluster(where.sites[1]) as cluster:
        yield cluster


ImageMaker = Callable[..., Any]


@pytest.fixture
def images_to_remove(
    supervisor: programs.Supervisor,
    admin: connection.Connection,
    east: clusters.Cluster,
    west: clusters.Cluster,
) -> Iterator[list[str]]:
    """Images that go at the end, with their clones, by their ids."""
    images: list[str] = []
    yield images
    for image_id in images:
        for cluster in (east, west):
            for disk in cluster.clones(image_id):
                cluster.remove('vms', disk)
        with contextlib.suppress(sdk_exceptions.NotFoundException):
            admin.image.delete_image(image_id, ignore_missing=False)
        for cluster in (east, west):
            # What a copy that was stopped on the way has left.
            cluster.remove('images', image_id)


@pytest.fixture
def upload(
    images_to_remove: list[str],
    demo: connection.Connection,
    tmp_path: pathlib.Path,
) -> ImageMaker:
    """Makes images of random bytes, each in one store."""

    def make(
        size_mib: int = 8,
        *,
        disk_format: str = 'raw',
        store: str = 'file',
        owner: connection.Connection = demo,
        **fields: Any,
    ) -> Any:
        path = tmp_path / f'image-{len(images_to_remove)}'
        image_files.write(path, disk_format, size_mib)
        answer = owner.image.post(
            '/images',
            json={
                'name': f'test-{uuid.uuid4()}',
                'disk_format': disk_format,
                'container_format': 'bare',
                **fields,
            },
        )
        answer.raise_for_status()
        image_id = answer.json()['id']
        images_to_remove.append(image_id)
        image_files.upload(owner, image_id, path, store)
        path.unlink()
        return owner.image.get_image(image_id)

    return make


@pytest.fixture
def servers(
    demo: connection.Connection, images_to_remove: list[str]
) -> Iterator[nova_servers.Servers]:
    """Servers of user demo; they go before their images do."""
    made = nova_servers.Servers(demo)
    yield made
    made.delete_all()


@pytest.fixture
def host_of(admin: connection.Connection) -> Callable[[Any], str | None]:
    """The host of a server, which its user is not told."""

    def host(server: Any) -> str | None:
        name: str | None = admin.compute.get_server(server.id).compute_host
        return name

    return host


@pytest.fixture(scope='session')
def computes(where: layout.Layout) -> dict[str, layout.Compute]:
    """The lab's computes, by name."""
    return {compute.name: compute for compute in where.computes}


@pytest.fixture
def log_of(where: layout.Layout) -> Callable[[str], logs.Log]:
    """What a program of the lab logs from now on."""
    return lambda program: logs.Log(where.log_of(program))


@pytest.fixture
def configure(
    supervisor: programs.Supervisor,
    admin: connection.Connection,
    computes: dict[str, layout.Compute],
    tmp_path: pathlib.Path,
) -> Iterator[Callable[..., None]]:
    """Restarts a compute with options, as ``section__name``, that differ."""
    changed = compute_services.ComputeServices(supervisor, admin, tmp_path)

    def by_name(name: str, **options: Any) -> None:
        sections: dict[str, dict[str, str]] = {}
        for option, value in options.items():
            section, _, key = option.partition('__')
            sections.setdefault(section, {})[key] = str(value)
        changed.configure(computes[name], sections)

    yield by_name
    changed.restore()


@pytest.fixture
def configure_stock(
    configure: Callable[..., None],
    glance_for_stock: apis.GlanceApi,
) -> Callable[..., None]:
    """Restarts a compute with Nova's own driver, and what that needs."""
    return functools.partial(
        configure,
        DEFAULT__compute_driver='libvirt.LibvirtDriver',
        glance__endpoint_override=glance_for_stock.url,
    )


HostMaker = Callable[..., hosts.Host]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker('both_modes'):
        metafunc.parametrize('threads', ['native', 'eventlet'], indirect=True)


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> str:
    """How the hosts of a test run: on native threads or on eventlet."""
    mode: str = getattr(request, 'param', 'native')
    return mode


@pytest.fixture
def make_host(
    threads: str,
    where: layout.Layout,
    tmp_path: pathlib.Path,
    east: clusters.Cluster,
    west: clusters.Cluster,
) -> Iterator[HostMaker]:
    """Makes hosts like one of the lab's computes."""
    made: list[hosts.Host] = []
    by_name = {compute.name: compute for compute in where.computes}

    def make(
        like: str = 'west-1',
        *,
        driver: tuple[str, str] = hosts.OURS,
        eventlet: bool = threads == 'eventlet',
        **options: Any,
    ) -> hosts.Host:
        host = hosts.Host(
            by_name[like],
            tmp_path / f'host-{len(made)}',
            {
                name.replace('__', '.'): value
                for name, value in options.items()
            },
            driver,
            eventlet,
        )
        made.append(host)
        return host

    with hosts.killed_at_the_end(made):
        yield make
    for host in made:
        for disk in host.disks:
            for cluster in (east, west):
                cluster.remove('vms', disk)


@pytest.fixture
def copy_tasks(
    admin: connection.Connection,
) -> Callable[[str], list[dict[str, Any]]]:
    """The copies of an image that Glance was asked for, as it tells them."""

    def tasks(image_id: str) -> list[dict[str, Any]]:
        answer = admin.image.get(f'/images/{image_id}/tasks')
        answer.raise_for_status()
        return [
            task
            for task in answer.json()['tasks']
            if task['input']['import_req']['method']['name'] == 'copy-image'
        ]

    return tasks


@pytest.fixture
def stores_of(admin: connection.Connection) -> Callable[[str], set[str]]:
    """The stores that have an image, as Glance tells them."""

    def stores(image_id: str) -> set[str]:
        answer = admin.image.get(f'/images/{image_id}')
        answer.raise_for_status()
        return set(answer.json()['stores'].split(','))

    return stores


@pytest.fixture
def leave_in_cache() -> Callable[[hosts.Host, str], None]:
    """Puts an image where Nova keeps what it has downloaded."""

    def leave(host: hosts.Host, image_id: str) -> None:
        # Nova's name for it (nova.virt.libvirt.imagecache).
        name = hashlib.sha1(image_id.encode(), usedforsecurity=False)
        base = host.state_path / 'instances' / '_base'
        base.mkdir(parents=True)
        image_files.write(base / name.hexdigest(), 'raw', size_mib=8)

    return leave


GlanceMaker = Callable[..., apis.GlanceApi]


@pytest.fixture
def make_glance(
    where: layout.Layout, tmp_path: pathlib.Path
) -> Iterator[GlanceMaker]:
    """Runs further glance-apis with options of their own."""
    made: list[apis.GlanceApi] = []

    def make(**options: dict[str, str]) -> apis.GlanceApi:
        api = apis.GlanceApi(
            where.glance_apis[0].directory,
            tmp_path / f'glance-{len(made)}',
            options,
        )
        made.append(api)
        api.start()
        return api

    yield make
    for api in made:
        api.kill()


@pytest.fixture
def glance_for_stock(make_glance: GlanceMaker) -> apis.GlanceApi:
    """Glance with the setting that Nova's own driver cannot do without."""
    return make_glance(DEFAULT={'show_multiple_locations': 'true'})


@pytest.fixture
def make_stock_host(
    make_host: HostMaker, glance_for_stock: apis.GlanceApi
) -> HostMaker:
    """Makes hosts with Nova's own driver, and with what it needs."""

    def make(like: str = 'west-1', **options: Any) -> hosts.Host:
        return make_host(
            like,
            driver=hosts.STOCK,
            **{'glance__endpoint_override': glance_for_stock.url, **options},
        )

    return make


@pytest.fixture
def hold_copy(
    make_glance: GlanceMaker,
    admin: connection.Connection,
    where: layout.Layout,
) -> Callable[[str, str], apis.GlanceApi]:
    """Begins somebody else's copy of an image, and stops it half-way.

    Between two transactions, or the other glance-apis would wait for it.
    """

    def hold(image_id: str, store: str) -> apis.GlanceApi:
        api = make_glance()
        api.request_copy(admin, image_id, store)

        def freeze() -> bool:
            api.freeze()
            if database.is_free(where, image_id):
                return True
            api.thaw()
            return False

        polling.until(freeze, 'a moment to freeze it', pause=0.02)
        return api

    return hold


Stopper = Callable[..., None]


@pytest.fixture
def stop(
    supervisor: programs.Supervisor, where: layout.Layout
) -> Iterator[Stopper]:
    """Stops programs of the lab, and starts them again at the end."""
    stopped: list[str] = []

    def by_name(name: str, number: signal.Signals = signal.SIGTERM) -> None:
        stopped.append(name)
        if number == signal.SIGTERM:
            supervisor.stop(name)
        else:
            supervisor.signal(name, number)

    yield by_name
    supervisor.start(*stopped)
    for api in where.glance_apis:
        apis.wait_for(api.url)


@pytest.fixture
def freeze(
    supervisor: programs.Supervisor,
) -> Iterator[Callable[[str], Callable[[], None]]]:
    """Has programs of the lab stand still, with their sockets open.

    Gives what thaws them; at the end, all are thawed.
    """
    frozen: list[str] = []

    def by_name(name: str) -> Callable[[], None]:
        frozen.append(name)
        supervisor.signal(name, signal.SIGSTOP)
        return lambda: supervisor.signal(name, signal.SIGCONT)

    yield by_name
    for name in frozen:
        supervisor.signal(name, signal.SIGCONT)


@pytest.fixture
def full_cluster() -> Iterator[Callable[[clusters.Cluster], None]]:
    """Has a cluster believe that it is full."""
    full: list[clusters.Cluster] = []

    def fill(cluster: clusters.Cluster) -> None:
        full.append(cluster)
        for ratio in ('nearfull', 'backfillfull', 'full'):
            cluster.command(f'osd set-{ratio}-ratio', ratio=0.0001)
        cluster.wait_for_health('OSD_FULL')

    yield fill
    for cluster in full:
        for ratio, share in (
            ('full', 0.95),
            ('backfillfull', 0.9),
            ('nearfull', 0.85),
        ):
            cluster.command(f'osd set-{ratio}-ratio', ratio=share)
        cluster.wait_for_health('OSD_FULL', present=False)


@pytest.fixture
def short_lived(
    where: layout.Layout, tmp_path: pathlib.Path, demo: connection.Connection
) -> Iterator[Callable[[], tuple[hosts.User, float]]]:
    """Logs demo in for some seconds: a user, and when his token expires.

    At a Keystone whose tokens live shortly; they are good everywhere.
    """
    seconds = 25
    keystone = apis.KeystoneApi(
        where.etc / 'keystone',
        tmp_path / 'keystone',
        {'token': {'expiration': str(seconds)}},
    )
    keystone.start()

    def log_in() -> tuple[hosts.User, float]:
        account = dataclasses.asdict(cloud.account('demo', where))
        account['auth_url'] = f'{keystone.url}/v3'
        expires = time.time() + seconds
        token = v3.Password(**account).get_token(demo.session)
        user = hosts.user_of(demo)
        return dataclasses.replace(user, auth_token=token), expires

    yield log_in
    keystone.kill()
