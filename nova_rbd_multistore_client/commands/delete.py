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

"""``openstack image replica delete``."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from nova_rbd_multistore_client import data
from nova_rbd_multistore_client import deleting
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import glance
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import reading
from nova_rbd_multistore_client import servers
from nova_rbd_multistore_client import sites
from nova_rbd_multistore_client.commands import options


class DeleteReplicas(options.Lister):
    """Delete an image from stores, and leave it in the others

    Never deleted is the last copy, an image that is being copied, or one that
    disks in that store's cluster are clones of. Only the cluster knows of
    clones: name it with --ceph-conf. Without, an image that any server was
    booted from is not deleted, unless --blind is given. (Glance itself refuses
    if there are clones of version 1. Data with clones of version 2 it moves
    into the trash of the pool, where it stays and takes its space.)

    A copy is looked for where the image's record says that it lies. If that
    is out of reach, it is not deleted either, unless --blind is given.

    All stores are looked at before the first copy is deleted.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'image', metavar='<image>', help='Image (name or id)'
        )
        options.add_stores(parser, 'Delete it from this store', required=True)
        parser.add_argument(
            '--blind',
            action='store_true',
            help='Without --ceph-conf: go on although there are servers of '
            'the image, whose disks may be clones',
        )
        options.add_ceph(parser, 'to see clones, and what comes free')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        service = options.glance_of(self)
        stores = options.require_stores(parsed_args.stores, service.stores())
        image = service.find(parsed_args.image)
        with options.sites_of(parsed_args, service) as looked_at:
            seen = {
                store: see(service, image, store, looked_at)
                for store in stores
            }
        # One after another, as they will be deleted.
        left = image.record
        for store in stores:
            why = deleting.obstacle(left, store, seen[store])
            if not why and not seen[store].looked and not parsed_args.blind:
                why = blind_spot(self, image, seen[store])
            if why:
                raise errors.Refusing(
                    f'{image} is not deleted from store {store}: {why}'
                )
            left = deleting.without(left, store)
        rows = []
        for store in stores:
            service.delete_copy(image.id, store)
            frees = options.SizeColumn(seen[store].frees)
            rows.append((image.id, image.name, store, 'deleted', frees))
        return ('ID', 'Name', 'Store', 'Result', 'Freed'), rows


def see(
    service: glance.Glance,
    image: images.Image,
    store: str,
    looked_at: sites.Sites,
) -> deleting.Seen:
    """What the clusters that were given show of an image."""
    record = image.record
    looked_into = [name for name in record.stores if looked_at.get(name)]
    if not looked_into:
        return deleting.NOTHING_SEEN
    locations = service.locations(image.id)
    looks = {
        name: looked_at.look(image.id, name, locations) for name in looked_into
    }
    own = looks.pop(store, data.Look())
    return deleting.Seen(
        looked=own.found is not None,
        unseen=own.unseen,
        lost_in='' if own.found else own.pool,
        found=own.found,
        empty=frozenset(
            name
            for name, look in looks.items()
            if not look.unseen
            and data.health(look.found, record.size)[0]
            is reading.Health.MISSING
        ),
        doubted={
            name: look.unseen for name, look in looks.items() if look.unseen
        },
    )


def blind_spot(
    of: options.Lister, image: images.Image, seen: deleting.Seen
) -> str:
    """Why it must not be deleted where nobody has looked for clones."""
    if seen.unseen:
        return f'{seen.unseen}: look for clones there, and give --blind'
    advice = (
        f'nothing of it is in pool {seen.lost_in}, where its record says that '
        'it is: find it, and give --blind'
        if seen.lost_in
        else "name the store's cluster with --ceph-conf, or give --blind"
    )
    try:
        count = servers.Servers(options.compute_of(of)).count(image.id)
    except errors.ReplicaError as exc:
        return f'whether it has clones is not known ({exc}): {advice}'
    if not count:
        return ''
    return (
        f'there are {count} servers of it, whose disks may be clones: {advice}'
    )
