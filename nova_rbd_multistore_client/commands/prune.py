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

"""``openstack image replica prune``."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
import datetime
from typing import Any

from oslo_utils import timeutils

from nova_rbd_multistore_client import age
from nova_rbd_multistore_client import deleting
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import servers
from nova_rbd_multistore_client import sites
from nova_rbd_multistore_client.commands import delete
from nova_rbd_multistore_client.commands import options


class PruneReplicas(options.Lister):
    """Delete from a store what nobody there has needed for a while

    An image counts as unused if no server of any project is made from it, or
    was within that time, and if nothing of it was changed within that time, a
    copy to any store included. Of those, never deleted is the last copy, an
    image that is being copied, or, with --ceph-conf, one that anything is a
    clone of. Volumes are not servers: without --ceph-conf, clones that Cinder
    made are not seen (Glance refuses if they are of version 1).

    Without --yes, it only shows what would be done. "Frees" is what comes free
    in the pool; only the cluster knows that. Ends with status 3 if Glance
    refuses to delete one.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--store',
            metavar='<store>',
            required=True,
            help='Store to delete from',
        )
        parser.add_argument(
            '--unused-for',
            metavar='<age>',
            type=options.age_of,
            required=True,
            help='For how long, as 30d, 12h or 90m',
        )
        parser.add_argument(
            '--keep',
            metavar='<number>',
            type=int,
            default=0,
            help="Leave so many of the store's images, those that were "
            'changed last, however unused they are (default: 0)',
        )
        options.add_yes(parser)
        options.add_ceph(parser, 'to see clones, and what comes free')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        service = options.glance_of(self)
        (store,) = options.require_stores(
            [parsed_args.store], service.stores()
        )
        now = timeutils.utcnow()
        before = now - parsed_args.unused_for
        used = servers.Servers(options.compute_of(self)).images_since(before)
        found = deleting.unused(
            service.every_image(), store, used, before, parsed_args.keep
        )
        with options.sites_of(parsed_args, service) as looked_at:
            rows = [*self._rows(found, store, looked_at, now, parsed_args.yes)]
            self._tell(rows, store, looked_at, parsed_args.yes)
        return ('ID', 'Name', 'Unused for', 'Size', 'Frees', 'Result'), rows

    def _rows(
        self,
        found: Iterable[deleting.Candidate],
        store: str,
        looked_at: sites.Sites,
        now: datetime.datetime,
        yes: bool,
    ) -> Iterator[Sequence[Any]]:
        service = options.glance_of(self)
        for candidate in found:
            # Others work, too: what was listed may be old by now.
            try:
                image = service.image(candidate.image.id)
            except errors.NotFound:
                continue
            try:
                seen = delete.see(service, image, store, looked_at)
            except errors.NotFound:
                continue
            why = deleting.obstacle(image.record, store, seen) or seen.unseen
            result = f'kept: {why}' if why else 'would be deleted'
            if yes and not why:
                result = self._delete(image.id, store)
            yield (
                image.id,
                image.name,
                age.shown(now - candidate.since),
                options.SizeColumn(image.record.size),
                options.SizeColumn(0 if why else seen.frees),
                result,
            )

    def _delete(self, image_id: str, store: str) -> str:
        try:
            options.glance_of(self).delete_copy(image_id, store)
        except (errors.Refused, errors.NotFound) as exc:
            self.not_all_well = True
            return f'kept: {exc}'
        return 'deleted'

    def _tell(
        self,
        rows: Sequence[Sequence[Any]],
        store: str,
        looked_at: sites.Sites,
        yes: bool,
    ) -> None:
        site = looked_at.get(store)
        if not rows:
            options.warn(
                self, f'No image of store {store} was unused for so long.'
            )
        elif site is None:
            options.warn(
                self,
                'How many bytes come free, and which images have clones, is '
                "not known without --ceph-conf of the store's cluster.",
            )
        if site is not None:
            freed = sum(row[4].machine_readable() or 0 for row in rows)
            trash = site.cluster.trash(site.pool)
            held = sum(
                site.cluster.trashed_bytes(site.pool, entry.id)
                for entry in trash
            )
            did = 'came' if yes else 'would come'
            options.warn(
                self,
                f'{options.in_units(freed)} {did} free in pool {site.pool}; '
                f'{len(trash)} images in its trash hold '
                f'{options.in_units(held)}.',
            )
        if rows and not yes:
            options.warn(self, 'Nothing was deleted: give --yes to do so.')
