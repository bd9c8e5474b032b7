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

"""Record what our engine and a real Glance say to each other, in the lab.

Three hosts boot one cold image, one after another: the first of site west has
it copied, the second leaves the asking to the first and shares that copy, the
one of site east has to wait for the copy to west, and then has its own.
"""

import argparse
from concurrent import futures
import dataclasses
import pathlib
import random
import tempfile
import time
import uuid

from keystoneauth1 import service_token
from keystoneauth1 import session as ksa_session
from keystoneauth1.identity import v3
from openstack import connection

from benchmarks.fleet import ours
from benchmarks.fleet import trace
from lab import cloud
from lab import credentials
from lab import layout
from nova_rbd_multistore import beside
from nova_rbd_multistore import ceph
from tests.rig import clusters
from tests.rig import image_files

MIB = 1024**2
SIZE = 256 * MIB

#: Often enough that the waits for others are polled a few times.
POLL_INTERVAL = 2.0

HOSTS = [
    trace.Host('west-1', 'west', boots_at=0.0, seed=1),
    trace.Host('west-2', 'west', boots_at=0.5, seed=2),
    trace.Host('east-1', 'east', boots_at=4.0, seed=3),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('trace', type=pathlib.Path, help='the file to write')
    path = parser.parse_args().trace
    where = layout.Layout.from_environment()
    demo = cloud.connect('demo', where)
    image = _upload(demo)
    try:
        record(where, image).save(path)
    finally:
        demo.image.delete_image(image)


def record(where: layout.Layout, image: str) -> trace.Trace:
    """Boot on all hosts, each at its time; the trace of that."""
    recorded = trace.Trace(SIZE, POLL_INTERVAL, HOSTS)
    known = {image: '{image}'}
    for number, api in enumerate(where.glance_apis):
        known[api.url.rpartition('/')[2]] = f'glance-{number + 1}'
    for site in where.sites:
        known[site.fsid] = f'{{fsid-{site.name}}}'
    names = trace.Names(known)
    _warm_up(where, image)
    began = time.monotonic() + 1.0

    def boot(host: trace.Host) -> None:
        recorder = trace.Recorder(
            recorded, host.name, names, time.monotonic, began
        )
        _boot(where, image, recorder, host, began)

    with futures.ThreadPoolExecutor(len(HOSTS)) as pool:
        for _ in pool.map(boot, HOSTS):
            pass
    return recorded


def _warm_up(where: layout.Layout, image: str) -> None:
    """Have each glance-api answer once: the first time takes long."""
    session = ksa_session.Session(_user(where))
    for api in where.glance_apis:
        for path in ('', '/locations', '/tasks'):
            session.get(f'{api.url}/v2/images/{image}{path}')
        session.get(f'{api.url}/v2/info/stores')


def _boot(
    where: layout.Layout,
    image: str,
    recorder: trace.Recorder,
    host: trace.Host,
    began: float,
) -> None:
    (site,) = [site for site in where.sites if site.name == host.store]
    cluster = ceph.Cluster(str(site.ceph_conf), 'nova', 30, {})
    cluster.fsid()
    booting = ours.Compute(
        f'trace-{uuid.uuid4()}',
        host.store,
        trace.Cluster(cluster, recorder),
        trace.Session(ksa_session.Session(timeout=60), recorder),
        _user(where),
        [f'{api.url}/' for api in where.glance_apis],
        dataclasses.replace(ours.LIMITS, poll_interval=POLL_INTERVAL),
        time,
        beside,
        random.Random(host.seed),
    )
    time.sleep(max(began + host.boots_at - time.monotonic(), 0.0))
    booting.boot(image)
    with clusters.Cluster(site) as pools:
        pools.remove('vms', f'{booting.name}_disk')


def _user(where: layout.Layout) -> service_token.ServiceTokenAuthWrapper:
    """User demo's token, with Nova's service token beside it."""
    demo = cloud.account('demo', where)
    nova = credentials.Credentials.load(where).user('nova')
    return service_token.ServiceTokenAuthWrapper(
        v3.Password(
            demo.auth_url,
            username=demo.username,
            password=demo.password,
            project_name=demo.project_name,
            user_domain_name=demo.user_domain_name,
            project_domain_name=demo.project_domain_name,
        ),
        v3.Password(
            demo.auth_url,
            username='nova',
            password=nova,
            project_name='service',
            user_domain_name='Default',
            project_domain_name='Default',
        ),
    )


def _upload(demo: connection.Connection) -> str:
    """An image of random bytes in Glance's file store; its id."""
    answer = demo.image.post(
        '/images',
        json={
            'name': f'trace-{uuid.uuid4()}',
            'disk_format': 'raw',
            'container_format': 'bare',
        },
    )
    answer.raise_for_status()
    image: str = answer.json()['id']
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'image'
        image_files.write(path, 'raw', SIZE // MIB)
        image_files.upload(demo, image, path, 'file')
    return image


if __name__ == '__main__':
    main()
