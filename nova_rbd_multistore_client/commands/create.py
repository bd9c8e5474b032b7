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

"""``openstack image replica create``."""

import argparse
from collections.abc import Iterable, Sequence
import contextlib
from typing import Any

from nova_rbd_multistore_client import bringing
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import glance
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import showing
from nova_rbd_multistore_client import sites
from nova_rbd_multistore_client.commands import options


class CreateReplicas(options.Lister):
    """Have Glance copy images into stores

    Only what is missing is copied: the command can be given again at any time,
    also while copies are under way, or after it was interrupted, and goes on
    from there. (Interrupting it does not interrupt Glance.)

    Glance imports an image to one store after another and refuses a second
    import of it meanwhile. So there is one request for all stores that an
    image lacks; and with --wait, an image that something else holds is waited
    for.

    With --wait, progress is shown on standard error: bars on a terminal, lines
    elsewhere. Glance tells it once a minute; with --ceph-conf, it is seen in
    the cluster itself, every few seconds.

    Ends with status 3 if a copy failed, or could not be requested.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'images',
            metavar='<image>',
            nargs='+',
            help='Image to copy (name or id)',
        )
        add_where(parser)
        add_how(parser)
        options.add_ceph(parser, 'to see how far its copies are')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        service = options.glance_of(self)
        stores = where(parsed_args, service)
        wanted = [
            (image, stores)
            for image in options.find_all(service, parsed_args.images)
        ]
        with options.sites_of(parsed_args, service) as looked_at:
            results = bring(self, parsed_args, wanted, looked_at)
        return RESULT_COLUMNS, rows(self, results)


RESULT_COLUMNS = ('ID', 'Name', 'Store', 'Result')


def rows(
    of: options.Lister, results: Iterable[bringing.Result]
) -> list[Sequence[Any]]:
    """The table of what has become of copies; notes how a command ends."""
    found = list(results)
    of.not_all_well |= not all(result.well for result in found)
    return [
        (result.image.id, result.image.name, result.store, str(result))
        for result in found
    ]


def add_where(parser: argparse.ArgumentParser) -> None:
    """Add the options that say into which stores."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        '--store',
        metavar='<store>',
        dest='stores',
        action='append',
        default=[],
        help='Copy into this store (repeat for several)',
    )
    group.add_argument(
        '--all-stores',
        action='store_true',
        help='Copy into all stores that can be written to',
    )
    group.add_argument(
        '--like',
        metavar='<image>',
        help='Copy into the stores that this image is in (name or id)',
    )


def add_how(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how copies are made."""
    parser.add_argument(
        '--wait', action='store_true', help='Wait until the copies end'
    )
    parser.add_argument(
        '--parallel',
        metavar='<number>',
        type=_positive,
        default=bringing.Wishes.parallel,
        help='With --wait: how many images to copy at a time '
        f'(default: {bringing.Wishes.parallel})',
    )
    parser.add_argument(
        '--retry',
        action='store_true',
        help='With --wait: request once more what failed, each store alone '
        '(Glance then tells why it fails)',
    )


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise ValueError(word)
    return number


def where(
    parsed_args: argparse.Namespace, service: glance.Glance
) -> list[str]:
    """The stores that images are to be copied into.

    :raises errors.NotFound: if there is no such store, or image
    """
    known = service.stores()
    if parsed_args.all_stores:
        return [store.id for store in known if not store.read_only]
    if parsed_args.like:
        found = service.find(parsed_args.like).record.stores
        return [store.id for store in known if store.id in found]
    named = options.require_stores(parsed_args.stores, known)
    for store in known:
        if store.read_only and store.id in named:
            raise errors.WrongUse(f'Store {store.id} is read-only')
    return named


def bring(
    of: options.Lister,
    parsed_args: argparse.Namespace,
    wanted: Iterable[tuple[images.Image, Sequence[str]]],
    looked_at: sites.Sites,
) -> list[bringing.Result]:
    """Bring images into stores, and show how they come along."""
    wishes = bringing.Wishes(
        parsed_args.wait, parsed_args.parallel, parsed_args.retry
    )

    def arrived(image_id: str, store: str) -> int | None:
        site = looked_at.get(store)
        found = site.look(image_id) if site else None
        return found.used if found else None

    with showing.of(of.app.stderr) as report:
        work = bringing.Bringing(
            options.glance_of(of), report, wishes, options.TIME, arrived
        )
        with _told_of_interruption(of, parsed_args.wait):
            return work.run(wanted)


@contextlib.contextmanager
def _told_of_interruption(of: options.Lister, wait: bool) -> Any:
    try:
        yield
    except KeyboardInterrupt:
        if wait:
            options.warn(
                of,
                'Interrupted: Glance goes on with what it has begun, and the '
                'same command with what is left.',
            )
        raise
