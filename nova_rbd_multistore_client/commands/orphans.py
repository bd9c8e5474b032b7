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

"""``openstack image replica orphans``."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
import datetime
from typing import Any

from oslo_utils import timeutils

from nova_rbd_multistore_client import age
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import orphan
from nova_rbd_multistore_client import sites
from nova_rbd_multistore_client.commands import options
from nova_rbd_multistore_client.commands import repair


class ListOrphans(options.Lister):
    """Compare a store's pool with Glance: what lacks its other half

    Shown are data that no record lists, and records whose data is not there,
    with bytes and age; the trash of the pool is told of beside the table.

    With --yes, data is removed that is certainly nobody's: its name is an
    image's id, Glance has no image of that id, and no image whose data lies
    under that name (each is asked for); it has no clones and no snapshots but
    Glance's, no client has it open, and it is older than --older-than. A pool
    that several clouds share looks so to each of them: never do it there.

    It takes an account with role admin, which sees all images. Ends with
    status 3 if there is anything left.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--store', metavar='<store>', required=True, help='Store to check'
        )
        parser.add_argument(
            '--older-than',
            metavar='<age>',
            type=options.age_of,
            default=datetime.timedelta(days=1),
            help='Remove only what is older, as 7d or 12h (default: 1d)',
        )
        options.add_yes(parser)
        options.add_ceph(parser, 'that has the pool (needed)')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        service = options.glance_of(self)
        (store,) = options.require_stores(
            [parsed_args.store], service.stores()
        )
        if 'admin' not in service.roles():
            raise errors.NotAllowed(
                'see all images',
                'It needs role admin: others do not see the images of all '
                'projects, whose data would then seem to be of none.',
            )
        now = timeutils.utcnow()
        before = now - parsed_args.older_than
        with options.sites_of(parsed_args, service) as looked_at:
            site = looked_at.require(store)
            # First the pool: what is uploaded meanwhile has its record by
            # the time that these are listed.
            names = site.cluster.names(site.pool)
            listed = {image.id: image for image in service.every_image()}
            found = [*_without_record(site, names, listed, before)]
            found += self._without_data(looked_at, store, listed.values())
            removable = [
                entry
                for entry in found
                if entry.kind is orphan.Kind.DATA and not entry.kept
            ]
            results = {}
            if parsed_args.yes and removable:
                results = self._remove(removable, site, before)
            rows = [
                (
                    entry.kind.value,
                    entry.name,
                    options.SizeColumn(entry.bytes),
                    age.shown(now - entry.since) if entry.since else '',
                    results.get(entry.name)
                    or (f'kept: {entry.kept}' if entry.kept else '')
                    or 'would be removed',
                )
                for entry in found
            ]
            self._tell(site, rows, parsed_args.yes)
        self.not_all_well = any(row[4] != 'removed' for row in rows)
        return ('Kind', 'Name', 'Bytes', 'Age', 'Result'), rows

    def _remove(
        self,
        removable: Iterable[orphan.Orphan],
        site: sites.Site,
        before: datetime.datetime,
    ) -> dict[str, str]:
        """Remove what is nobody's; what has become of each."""
        service = options.glance_of(self)
        referred_to = repair.all_names(self, site)
        results = {}
        for entry in removable:
            try:
                service.image(entry.name)
            except errors.NotFound:
                pass
            else:
                results[entry.name] = 'kept: an image has that id now'
                continue
            found = site.look(entry.name)
            if entry.name in referred_to:
                results[entry.name] = 'kept: an image has its data there'
            elif found is None:
                results[entry.name] = 'kept: it is gone'
            elif why := orphan.of_data(found, None, before).kept:
                results[entry.name] = f'kept: {why}'
            else:
                try:
                    site.cluster.remove(site.pool, entry.name)
                except errors.InUse as exc:
                    results[entry.name] = f'kept: {exc}'
                else:
                    results[entry.name] = 'removed'
        return results

    def _without_data(
        self,
        looked_at: sites.Sites,
        store: str,
        listed: Iterable[images.Image],
    ) -> Iterator[orphan.Orphan]:
        service = options.glance_of(self)
        site = looked_at.require(store)
        for image in listed:
            record = image.record
            if not record.holds(store) or not record.active:
                continue
            # Most images lie where the store puts them today.
            if orphan.without_data(image, site.look(image.id)) is None:
                continue
            try:
                locations = service.locations(image.id)
            except errors.NotFound:
                continue
            look = looked_at.look(image.id, store, locations)
            if look.unseen:
                options.warn(self, f'{image}: {look.unseen}')
                continue
            lost = orphan.without_data(image, look.found)
            if lost is not None:
                yield lost

    def _tell(
        self, site: sites.Site, rows: Sequence[Sequence[Any]], yes: bool
    ) -> None:
        trash = site.cluster.trash(site.pool)
        if trash:
            held = sum(
                site.cluster.trashed_bytes(site.pool, entry.id)
                for entry in trash
            )
            options.warn(
                self,
                f'{len(trash)} images in the trash of pool {site.pool} hold '
                f'{options.in_units(held)}: rbd trash purge {site.pool} '
                'removes those without clones.',
            )
        if not rows:
            options.warn(self, f'Pool {site.pool} and Glance agree.')
        elif not yes:
            options.warn(self, 'Nothing was removed: give --yes to do so.')


def _without_record(
    site: sites.Site,
    names: Iterable[str],
    listed: dict[str, images.Image],
    before: datetime.datetime,
) -> Iterator[orphan.Orphan]:
    there = set(names)
    for name in sorted(there):
        image = listed.get(name)
        if image is not None and site.store in image.record.stores:
            continue
        if image is not None and image.record.lock is not None:
            # It may be on its way.
            continue
        found = site.look(name)
        if found is not None:
            yield orphan.of_data(found, image, before)
