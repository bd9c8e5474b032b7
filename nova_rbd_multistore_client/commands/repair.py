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

"""``openstack image replica repair``."""

import argparse
from collections.abc import Callable, Iterable, Sequence
import contextlib
from typing import Any

from oslo_utils import timeutils

from nova_rbd_multistore import task as task_values
from nova_rbd_multistore_client import bringing
from nova_rbd_multistore_client import data
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import glance
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import lock
from nova_rbd_multistore_client import orphan
from nova_rbd_multistore_client import remedy
from nova_rbd_multistore_client import sites
from nova_rbd_multistore_client.commands import options


class RepairReplicas(options.Lister):
    """Show what is wrong with an image's copies, and mend it with --yes

    Looked for are: a lock of a task that is dead; flags that copies have left
    behind; and, in the clusters named with --ceph-conf, data of a broken copy,
    which makes each later copy fail, and a record that lists a store without
    the data.

    Without --yes, it only shows what would be done. Removed is only what
    nothing refers to: it has no clones, no client has it open, and no record
    of Glance has its data there. A copy is deleted from the record only if
    another cluster was seen to have all of the data.

    Ends with status 3 if something is wrong, and was not mended.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'image', metavar='<image>', help='Image (name or id)'
        )
        options.add_yes(parser)
        options.add_ceph(parser, 'to look at the data itself')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        service = options.glance_of(self)
        image = self._settled(service.find(parsed_args.image))
        rows = []
        with options.sites_of(parsed_args, service) as looked_at:
            if not looked_at:
                options.warn(
                    self,
                    'Whether data is missing, or in the way, is not known '
                    'without --ceph-conf.',
                )
            findings, unseen = self._find(
                image,
                looked_at,
                lambda store: referred_to(
                    self, image.id, looked_at.require(store)
                ),
            )
            for words in unseen:
                options.warn(self, f'{image}: {words}')
            for finding in findings:
                done = str(finding)
                if finding.action is remedy.Action.NONE:
                    self.not_all_well = True
                elif parsed_args.yes:
                    done = self._mend(image, finding, looked_at)
                else:
                    self.not_all_well = True
                    done = f'would {done}'
                rows.append((finding.store, finding.what, done))
        if not rows:
            as_far = ', as far as was looked' if unseen else ''
            options.warn(self, f'Nothing is wrong with {image}{as_far}.')
        elif not parsed_args.yes:
            options.warn(self, 'Nothing was changed: give --yes to do so.')
        return ('Store', 'What is wrong', 'Remedy'), rows

    def _settled(self, image: images.Image) -> images.Image:
        """The image, once its lock is known to be alive or dead."""
        service = options.glance_of(self)
        hidden = lock.HiddenLock(options.TIME.clock)
        said = False
        while (
            image.record.lock is not None
            and _sees_all_tasks(service)
            and hidden.is_hidden(image.record.lock, service.tasks(image.id))
            and not hidden.is_dead()
        ):
            if not said:
                options.warn(
                    self,
                    f'Glance does not show the task that holds {image}, and '
                    'may not have stored it yet: that is looked at for '
                    f'{lock.HIDDEN:.0f} s.',
                )
                said = True
            options.TIME.sleep(bringing.POLL)
            image = service.image(image.id)
        return image

    def _find(
        self,
        image: images.Image,
        looked_at: sites.Sites,
        referred_to: Callable[[str], bool],
    ) -> tuple[list[remedy.Finding], list[str]]:
        """What is wrong, and what of it could not be looked at."""
        service = options.glance_of(self)
        tasks = service.tasks(image.id)
        pools, unseen = self._look(image, looked_at)
        findings = remedy.findings(
            image.record,
            tasks,
            pools,
            timeutils.utcnow(),
            sees_all_tasks=_sees_all_tasks(service),
            referred_to=referred_to,
        )
        return findings, unseen

    def _look(
        self, image: images.Image, looked_at: sites.Sites
    ) -> tuple[dict[str, data.Data | None], list[str]]:
        service = options.glance_of(self)
        locations = service.locations(image.id) if looked_at else ()
        pools = {}
        unseen = []
        for site in looked_at:
            if site.store not in image.record.stores:
                pools[site.store] = site.look(image.id)
                continue
            look = looked_at.look(image.id, site.store, locations)
            if look.unseen:
                unseen.append(look.unseen)
            else:
                pools[site.store] = look.found
        return pools, unseen

    def _mend(
        self,
        image: images.Image,
        finding: remedy.Finding,
        looked_at: sites.Sites,
    ) -> str:
        service = options.glance_of(self)
        # Asking for all names takes long where there are many images. So that
        # comes before the look that counts.
        needed = finding.action is remedy.Action.REMOVE_DATA and referred_to(
            self, image.id, looked_at.require(finding.store)
        )
        # Others work, too: is it still so?
        found, _ = self._find(
            service.image(image.id),
            looked_at,
            # Of other stores' data, nothing is to be done now.
            lambda store: needed or store != finding.store,
        )
        if finding not in found:
            self.not_all_well = True
            return 'nothing: it has changed meanwhile'
        try:
            match finding.action:
                case remedy.Action.DROP_LOCK:
                    return self._drop_lock(image)
                case remedy.Action.REMOVE_DATA:
                    site = looked_at.require(finding.store)
                    site.cluster.remove(site.pool, image.id)
                    return 'removed'
                case _:
                    service.delete_copy(image.id, finding.store)
                    return 'deleted from the record'
        except (errors.InUse, errors.Refused, errors.NotFound) as exc:
            self.not_all_well = True
            return f'failed: {exc}'

    def _drop_lock(self, image: images.Image) -> str:
        service = options.glance_of(self)
        store = min(image.record.stores)
        reply = service.request_copy(image.id, [store])
        if reply.verdict is task_values.Verdict.BUSY:
            self.not_all_well = True
            return f'failed: {reply.reason}'
        return 'the lock is gone'


def _sees_all_tasks(service: glance.Glance) -> bool:
    return 'admin' in service.roles()


def referred_to(of: options.Lister, name: str, site: sites.Site) -> bool:
    """Whether any record has its data in a pool, under this name.

    A request for each image, and one for each thousand.
    """
    return name in all_names(of, site)


def all_names(of: options.Lister, site: sites.Site) -> frozenset[str]:
    """The names under which Glance's records have their data in a pool."""
    service = options.glance_of(of)
    fsid = site.cluster.fsid()
    names: set[str] = set()
    # Which stores have it is not asked: only a location says where data lies,
    # and lists show no store of an image from before Glance had several.
    for image in service.every_image():
        with contextlib.suppress(errors.NotFound):
            urls = [entry.url for entry in service.locations(image.id)]
            names.update(orphan.names_in(urls, fsid, site.pool))
    return frozenset(names)
