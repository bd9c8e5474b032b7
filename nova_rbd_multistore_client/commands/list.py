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

"""``openstack image replica list``."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from oslo_utils import timeutils

from nova_rbd_multistore_client import cell
from nova_rbd_multistore_client import glance
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client.commands import options


class ListReplicas(options.Lister):
    """Show which image lies in which store of Glance

    A row is an image, a column a store, and a cell one of: "yes"; "no";
    "copying 43 %" (the number as Glance last told it, once a minute);
    "failed: <reason>"; "locked until 14:02 UTC" (an image that something else
    in Glance holds, at the latest until then).

    Without names, the images are those that "openstack image list" shows: not
    those that are hidden or, even for administrators, those of other projects
    that are open to the community. With --all, these too.

    Reasons, numbers and times are those of tasks, which Glance shows to the
    project that asked for the copy, and to administrators.

    A thousand images take one request, and one more each that is being copied
    or whose copy has failed. With "-f csv" or "-f value", rows are printed as
    they come.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'images',
            metavar='<image>',
            nargs='*',
            help='Image (name or id) to show (default: all)',
        )
        options.add_stores(parser, 'Show this store only')
        parser.add_argument(
            '--missing',
            metavar='<store>',
            action='append',
            default=[],
            help='Show only images that this store has not (repeat for '
            'several: those that any of them has not)',
        )
        parser.add_argument(
            '--public', action='store_true', help='Show public images only'
        )
        parser.add_argument(
            '--all',
            action='store_true',
            help="Show also hidden images, and other projects' that are open "
            'to the community',
        )
        parser.add_argument(
            '--long',
            action='store_true',
            help='Show status, visibility, owner and size, too, and stores '
            'that the glance-api asked does not have itself',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        service = options.glance_of(self)
        known = service.stores()
        shown = options.require_stores(parsed_args.stores, known) or [
            store.id for store in known
        ]
        missing = options.require_stores(parsed_args.missing, known)
        listed: Iterable[images.Image]
        if parsed_args.images:
            listed = options.find_all(service, parsed_args.images)
        else:
            listing = (
                service.every_image if parsed_args.all else service.images
            )
            listed = listing(
                {'visibility': 'public'} if parsed_args.public else None
            )
        wanted = (
            image
            for image in listed
            if _is_wanted(image, missing, public=parsed_args.public)
        )
        columns = ['ID', 'Name', *shown]
        if parsed_args.long:
            columns += ['Status', 'Visibility', 'Owner', 'Size', 'Elsewhere']
        others = {store.id for store in known}
        return columns, _rows(
            service, wanted, shown, others if parsed_args.long else None
        )


def _is_wanted(
    image: images.Image, missing: Sequence[str], *, public: bool
) -> bool:
    if public and image.record.visibility != 'public':
        return False
    return not missing or any(
        not image.record.holds(store) for store in missing
    )


def _rows(
    service: glance.Glance,
    listed: Iterable[images.Image],
    shown: Sequence[str],
    known: set[str] | None,
) -> Iterator[Sequence[Any]]:
    """Rows, as the images come.

    :param known: all stores of the glance-api, None for a short row
    """
    for image in listed:
        record = image.record
        tasks = service.tasks(image.id) if cell.needs_tasks(record) else ()
        now = timeutils.utcnow()
        row: list[Any] = [image.id, image.name]
        row += [
            options.CellColumn(cell.of(record, tasks, store, now))
            for store in shown
        ]
        if known is not None:
            row += [
                record.status,
                record.visibility or '',
                record.owner or '',
                options.SizeColumn(record.size),
                ', '.join(sorted(record.stores - known)),
            ]
        yield row
