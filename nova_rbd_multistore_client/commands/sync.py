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

"""``openstack image replica sync``."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
import pathlib
from typing import Any

from nova_rbd_multistore_client import bringing
from nova_rbd_multistore_client import deleting
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import plan as plans
from nova_rbd_multistore_client import rulefile
from nova_rbd_multistore_client import sites
from nova_rbd_multistore_client.commands import create
from nova_rbd_multistore_client.commands import delete
from nova_rbd_multistore_client.commands import options

_Row = Sequence[Any]


class SyncReplicas(options.Lister):
    """Bring images into the stores that a file says they belong in

    The file has rules: images by their ids, name, tags, properties, owner and
    visibility, and the stores in which those that meet all of these belong:

        version: 1
        rules:
          - images: {name: "debian-*", visibility: public}
            stores: [east, west]
          - images: {tags: [golden], visibility: public}
            stores: all
          - images:
              name: "scratch-*"
              owner: 1c8a7a6d2c1f4c0b9b8f3e5d7a9c1e2f
            stores: [east]
            exclusive: true

    Names, tags and properties are users' to set, so each rule has to say whose
    images it means: by owner (the id of a project), ids or "visibility:
    public".

    With "exclusive", they are deleted from other stores, under the conditions
    of "image replica delete"; whatever any rule wants stays. Nothing of an
    image is deleted before all copies of it that are wanted are there. With
    --ceph-conf of their clusters, they need to be whole there, too.

    What is to be done is shown as a diff: "+" for a copy to be made, "-" for
    one to be deleted. Then it is done, unless --dry-run is given. Whatever is
    not done in one run, as while an image is being copied, is left to the
    next: the command is made for timers.

    Ends with status 3 if anything failed or, with --dry-run, is to be done.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'file',
            metavar='<file>',
            type=pathlib.Path,
            help='File of rules, in YAML',
        )
        parser.add_argument(
            '--dry-run',
            action='store_true',
            help='Only show what would be done',
        )
        create.add_how(parser)
        parser.add_argument(
            '--blind',
            action='store_true',
            help='Without --ceph-conf: delete also what servers were booted '
            'from, whose disks may be clones',
        )
        options.add_ceph(parser, 'to see clones before copies are deleted')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Iterable[_Row]]:
        service = options.glance_of(self)
        known = service.stores()
        rules = rulefile.read(parsed_args.file, known)
        plan = plans.make(
            service.every_image(),
            rules,
            [store.id for store in known if not store.read_only],
        )
        for rule in plan.idle:
            options.warn(
                self,
                f'{parsed_args.file}:{rule.line}: no image is so that this '
                'rule applies to it',
            )
        if parsed_args.dry_run:
            self.not_all_well = bool(plan.changes)
            rows = list(_planned(plan))
        else:
            for sign, store, image_id, name, _, _ in _planned(plan):
                options.warn(self, f'{sign} {store}: {name} ({image_id})')
            rows = self._do(plan, parsed_args)
        options.warn(self, f'{plan.as_wanted} images lie as they should')
        return ('Change', 'Store', 'ID', 'Name', 'Size', 'Result'), rows

    def _do(
        self, plan: plans.Plan, parsed_args: argparse.Namespace
    ) -> list[_Row]:
        coming = [
            (change.image, change.into)
            for change in plan.changes
            if change.into
        ]
        with options.sites_of(
            parsed_args, options.glance_of(self)
        ) as looked_at:
            results = create.bring(self, parsed_args, coming, looked_at)
            rows: list[_Row] = [
                _row('+', result.store, result.image, str(result))
                for result in results
            ]
            self.not_all_well = not all(result.well for result in results)
            failed = {
                result.image.id: result.store
                for result in results
                if result.outcome is bringing.Outcome.FAILED
            }
            # Afterwards, for that may have been the only copy before.
            for change in plan.changes:
                lacking = failed.get(change.image.id)
                for store in change.out_of:
                    why = (
                        f'the copy to {lacking} failed'
                        if lacking
                        else self._delete(
                            change, store, looked_at, parsed_args
                        )
                    )
                    rows.append(
                        _row(
                            *('-', store, change.image),
                            f'kept: {why}' if why else 'deleted',
                        )
                    )
        return rows

    def _delete(
        self,
        change: plans.Change,
        store: str,
        looked_at: sites.Sites,
        parsed_args: argparse.Namespace,
    ) -> str:
        """Delete a copy; why that was not done, '' if it was."""
        service = options.glance_of(self)
        try:
            image = service.image(change.image.id)
            seen = delete.see(service, image, store, looked_at)
            why = deleting.obstacle(image.record, store, seen)
            if not why and not seen.looked and not parsed_args.blind:
                why = delete.blind_spot(self, image, seen)
            if not why:
                why = deleting.unmet(image.record, change.belongs_in, seen)
                self.not_all_well |= bool(why)
            if not why:
                service.delete_copy(image.id, store)
        except (errors.NotFound, errors.Refused) as exc:
            self.not_all_well = True
            why = str(exc)
        return why


def _planned(plan: plans.Plan) -> Iterator[_Row]:
    for change in plan.changes:
        image = change.image
        lacking = [
            store
            for store in change.belongs_in
            if not image.record.holds(store)
        ]
        first = f', once it is in {", ".join(lacking)}' if lacking else ''
        for store in change.into:
            yield _row('+', store, image, 'would be copied')
        for store in change.out_of:
            yield _row('-', store, image, f'would be deleted{first}')


def _row(sign: str, store: str, image: images.Image, result: str) -> _Row:
    return (
        sign,
        store,
        image.id,
        image.name,
        options.SizeColumn(image.record.size),
        result,
    )
