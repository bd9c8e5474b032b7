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

"""``openstack image replica show``."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from oslo_utils import timeutils

from nova_rbd_multistore_client import cell
from nova_rbd_multistore_client import data
from nova_rbd_multistore_client import glance
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import reading
from nova_rbd_multistore_client import sites
from nova_rbd_multistore_client import store as stores
from nova_rbd_multistore_client import words
from nova_rbd_multistore_client.commands import options

_Row = tuple[str, Any, str]


class ShowReplicas(options.Lister):
    """Show what each store of Glance has of an image, in words

    With --check, each glance-api of the catalog is asked for the first byte of
    the data, and has a row that says what came of it: "ok"; "missing" (no
    data where the record says); "no-access" (it may not be read: a policy, or
    the rights of glance-api's own user); "cannot-delete" (it can be read, but
    something keeps it from being deleted); "offline" (no answer, or a fault).
    A glance-api serves an image from whichever of its stores has it: only the
    cluster itself knows of one store's copy.

    With --ceph-conf, too, each pool has a row, in the same words: whether the
    snapshot is there, protected and whole, and how many clones it has.

    Ends with status 3 if a check finds anything but "ok" and "cannot-delete".
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'image', metavar='<image>', help='Image to show (name or id)'
        )
        parser.add_argument(
            '--check',
            action='store_true',
            help='Ask each glance-api for the first byte of the data',
        )
        parser.add_argument(
            '--endpoint',
            metavar='<url>',
            dest='endpoints',
            action='append',
            default=[],
            help='With --check: URL of a glance-api to ask instead of those '
            'in the catalog, as one behind a load balancer (repeat for '
            'several). It gets your token',
        )
        options.add_ceph(parser, 'to look at the data itself')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        service = options.glance_of(self)
        image = service.find(parsed_args.image)
        known = service.stores()
        rows = [*_by_store(service, image, known)]
        if parsed_args.check:
            asked = parsed_args.endpoints or service.endpoints()
            rows += _by_endpoint(service, image, known, asked)
        with options.sites_of(parsed_args, service) as looked_at:
            rows += _by_pool(service, image, known, looked_at)
        self.not_all_well = any(
            isinstance(status, str)
            and status
            in {
                reading.Health.MISSING.value,
                reading.Health.NO_ACCESS.value,
                reading.Health.OFFLINE.value,
            }
            for _, status, _ in rows
        )
        return ('Where', 'Status', 'Detail'), rows


def _by_store(
    service: glance.Glance, image: images.Image, known: Sequence[stores.Store]
) -> Iterator[_Row]:
    record = image.record
    tasks = service.tasks(image.id) if cell.needs_tasks(record) else ()
    holder = next((task for task in tasks if task.id == record.lock), None)
    now = timeutils.utcnow()
    ids = [store.id for store in known]
    for store in [*ids, *sorted(record.stores - set(ids))]:
        found = cell.of(record, tasks, store, now)
        told = words.sentence(found, record, holder)
        if store not in ids:
            told += '; the glance-api asked does not have this store'
        yield f'store {store}', options.CellColumn(found), told


def _by_endpoint(
    service: glance.Glance,
    image: images.Image,
    known: Sequence[stores.Store],
    asked: Iterable[str],
) -> Iterator[_Row]:
    read_only = {store.id for store in known if store.read_only}
    for endpoint in asked:
        answer = service.first_byte(endpoint, image.id)
        health, told = answer.health, answer.reason
        if health is reading.Health.OK:
            has = service.stores_of(endpoint) or frozenset()
            lacks = sorted(image.record.stores - has)
            if image.protected:
                health = reading.Health.CANNOT_DELETE
                told = 'the image is protected'
            elif image.record.stores & read_only:
                health = reading.Health.CANNOT_DELETE
                told = 'one of its stores is read-only'
            elif lacks:
                told = f'has not these of its stores: {", ".join(lacks)}'
        elif health is reading.Health.OFFLINE and answer.status is None:
            told = 'no answer'
        yield f'glance-api {endpoint}', health.value, told


def _by_pool(
    service: glance.Glance,
    image: images.Image,
    known: Sequence[stores.Store],
    looked_at: sites.Sites,
) -> Iterator[_Row]:
    held = [
        store.id
        for store in known
        if looked_at.get(store.id) and image.record.holds(store.id)
    ]
    locations = service.locations(image.id) if held else ()
    for store in held:
        look = looked_at.look(image.id, store, locations)
        if look.unseen:
            yield f'data of store {store}', '', look.unseen
            continue
        health, told = data.health(look.found, image.record.size)
        yield f'pool {look.pool} of store {store}', health.value, told
