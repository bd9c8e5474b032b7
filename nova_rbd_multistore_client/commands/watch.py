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

"""``openstack image replica watch``."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from oslo_utils import timeutils
import rich.console
import rich.live
import rich.markup
import rich.table

from nova_rbd_multistore import progress
from nova_rbd_multistore_client import age
from nova_rbd_multistore_client import cell
from nova_rbd_multistore_client import copies
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import patience
from nova_rbd_multistore_client.commands import options

COLUMNS = ('ID', 'Name', 'Store', 'State', 'Copied', 'Last heard of')


class WatchReplicas(options.Lister):
    """Show all copies under way, and what else holds images

    On a terminal, a table is shown and kept up to date until it is
    interrupted, or until nothing is under way with --until-done. Elsewhere, or
    with any format but "table", it is printed once; with --until-done, a line
    is printed for each change, and a table at the end.

    Glance is asked for all images at first, and for those that were changed
    since after that. If it gives no answer then, it is asked again for two
    minutes.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        options.add_stores(parser, 'Show copies to this store only')
        parser.add_argument(
            '--interval',
            metavar='<seconds>',
            type=float,
            default=5.0,
            help='How often to look (default: 5)',
        )
        parser.add_argument(
            '--until-done',
            action='store_true',
            help='End when nothing is under way any more',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        service = options.glance_of(self)
        known = service.stores()
        only = options.require_stores(parsed_args.stores, known)
        looks = copies.Looks(service, only or [store.id for store in known])
        interval = max(parsed_args.interval, 1.0)
        live = parsed_args.formatter == 'table' and self.app.stdout.isatty()
        found: Sequence[copies.UnderWay] = looks.look(timeutils.utcnow())
        if live and (found or not parsed_args.until_done):
            self._follow(looks, found, interval, parsed_args.until_done)
            return COLUMNS, ()
        said: set[str] = set()
        trouble = ''
        more = _Looking(looks, found)
        while parsed_args.until_done and found:
            for line in filter(None, (*map(_line, found), trouble)):
                if line not in said:
                    said.add(line)
                    options.warn(self, line)
            options.TIME.sleep(interval)
            found, trouble = more.look()
        return COLUMNS, [*_rows(found)]

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Iterable[Sequence[Any]],
    ) -> int:
        rows = list(data)
        if not rows and parsed_args.formatter == 'table':
            options.warn(self, 'Nothing is being copied.')
            return 0
        return super().produce_output(parsed_args, column_names, rows)

    def _follow(
        self,
        looks: copies.Looks,
        found: Sequence[copies.UnderWay],
        interval: float,
        until_done: bool,
    ) -> None:
        console = rich.console.Console(file=self.app.stdout)
        more = _Looking(looks, found)
        with rich.live.Live(
            _table(found), console=console, auto_refresh=False
        ) as view:
            try:
                while found or not until_done:
                    options.TIME.sleep(interval)
                    found, trouble = more.look()
                    view.update(_table(found, trouble), refresh=True)
            except KeyboardInterrupt:
                # That is how one stops looking.
                return


class _Looking:
    """Looks again and again, also while Glance gives no answer.

    :param found: what the first look has found
    """

    def __init__(
        self, looks: copies.Looks, found: Sequence[copies.UnderWay]
    ) -> None:
        self._looks = looks
        self._found = found
        self._patience = patience.Patience(options.TIME.clock)

    def look(self) -> tuple[Sequence[copies.UnderWay], str]:
        """What is under way, and why that may be old, '' if it is not.

        :raises errors.Unreachable: if Glance gave no answer for too long
        """
        asked_at = options.TIME.clock()
        try:
            self._found = self._looks.look(timeutils.utcnow())
        except errors.Unreachable as exc:
            if self._patience.is_out(asked_at):
                raise
            return self._found, str(exc)
        self._patience.renew()
        return self._found, ''


def _rows(found: Iterable[copies.UnderWay]) -> Iterator[tuple[Any, ...]]:
    for copy in found:
        task = copy.task
        copied = progress.bytes_in_message(task.message) if task else None
        heard = timeutils.utcnow() - task.updated_at if task else None
        yield (
            copy.image.id,
            copy.image.name,
            copy.store,
            options.CellColumn(copy.cell),
            options.SizeColumn(
                copied if copy.cell.state is cell.State.COPYING else None
            ),
            f'{age.shown(heard)} ago' if heard is not None else '',
        )


def _line(copy: copies.UnderWay) -> str:
    return f'{copy.image}, store {copy.store}: {copy.cell}'


def _table(
    found: Sequence[copies.UnderWay], trouble: str = ''
) -> rich.table.Table:
    table = rich.table.Table(
        title=f'{len(found)} under way, {timeutils.utcnow():%H:%M:%S} UTC',
        caption=rich.markup.escape(trouble),
    )
    for column in COLUMNS:
        table.add_column(column)
    for row in _rows(found):
        table.add_row(*(rich.markup.escape(str(field)) for field in row))
    return table
