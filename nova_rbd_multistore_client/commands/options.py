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

"""Options, columns and endings that several commands share."""

import argparse
from collections.abc import Collection, Iterable, Iterator, Sequence
import contextlib
import datetime
import inspect
import time
from typing import Any

from cliff import columns
from osc_lib.command import command
from oslo_utils import timeutils

from nova_rbd_multistore import text
from nova_rbd_multistore_client import age
from nova_rbd_multistore_client import bringing
from nova_rbd_multistore_client import cell
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import glance
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import sites
from nova_rbd_multistore_client import store as stores

#: How a command ends that has worked, but has not found, or brought about,
#: what it was asked for. 1 is an error, 2 a wrong command line.
NOT_ALL_WELL = 3

TIME = bringing.Time(time.monotonic, time.sleep, lambda: timeutils.utcnow())


class CellColumn(columns.FormattableColumn[Any]):
    """A cell: short for people, with whole times for programs."""

    _value: cell.Cell

    def human_readable(self) -> str:
        return str(self._value)

    def machine_readable(self) -> str:
        return self._value.exact

    def __lt__(self, other: object) -> bool:
        return isinstance(other, CellColumn) and (
            self._value.exact < other._value.exact
        )


class SizeColumn(columns.FormattableColumn[Any]):
    """Bytes: a number for programs."""

    def human_readable(self) -> str:
        return in_units(self._value)


def in_units(size: int | None) -> str:
    """Bytes, for people."""
    if size is None:
        return ''
    amount = float(size)
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if amount < 1024:
            return (
                f'{amount:.0f} {unit}'
                if unit == 'B'
                else (f'{amount:.1f} {unit}')
            )
        amount /= 1024
    return f'{amount:.1f} TiB'


class _Paragraphs(argparse.HelpFormatter):
    """Keeps paragraphs of a description apart, and indented lines as is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return '\n\n'.join(
            paragraph
            if paragraph.startswith(' ')
            else super(_Paragraphs, self)._fill_text(paragraph, width, indent)
            for paragraph in inspect.cleandoc(text).split('\n\n')
        )


class Ending:
    """How a command ends, where that is not known before its output is.

    Mixed into commands of cliff, which end with 0 once they have shown what
    they found.
    """

    #: Whether something is not as it was asked for.
    not_all_well = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]
        parser.formatter_class = _Paragraphs
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command; its exit status."""
        status: int = super().run(parsed_args)  # type: ignore[misc]
        return status or (NOT_ALL_WELL if self.not_all_well else 0)


class Command(Ending, command.Command):
    """A command that prints lines of its own."""


class Lister(Ending, command.Lister):
    """A command that prints a table."""


def glance_of(of: command.Command) -> glance.Glance:
    """Glance, for a command."""
    client: glance.Glance = of.app.client_manager.image_replica  # type: ignore[attr-defined]
    return client


def compute_of(of: command.Command) -> Any:
    """openstacksdk's compute proxy, for a command."""
    return of.app.client_manager.sdk_connection.compute


def age_of(word: str) -> datetime.timedelta:
    """An age on the command line."""
    try:
        return age.parse(word)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add ``--yes``, and ``--dry-run`` for those who want to be sure."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        '--yes',
        action='store_true',
        help='Do it, instead of showing what would be done',
    )
    group.add_argument(
        '--dry-run',
        action='store_true',
        help='Only show what would be done (the default)',
    )


def warn(of: command.Command, line: str) -> None:
    """Say something beside a command's output, on standard error."""
    of.app.stderr.write(f'{line}\n')


def add_stores(
    parser: argparse.ArgumentParser, help_text: str, *, required: bool = False
) -> None:
    """Add ``--store``, which can be repeated."""
    parser.add_argument(
        '--store',
        metavar='<store>',
        dest='stores',
        action='append',
        default=[],
        required=required,
        help=f'{help_text} (repeat for several)',
    )


def add_ceph(parser: argparse.ArgumentParser, why: str) -> None:
    """Add the options that let a command look into Ceph clusters."""
    parser.add_argument(
        '--ceph-conf',
        metavar='<path>',
        dest='ceph_confs',
        action='append',
        default=[],
        help=f"ceph.conf of a store's cluster, {why}: needs Ceph's Python "
        'bindings on this machine, and an account that may see which '
        'store has which pool (repeat for several clusters)',
    )
    parser.add_argument(
        '--ceph-user',
        metavar='<name>',
        default='admin',
        help='Ceph user without "client.", who can read all pools; of '
        'west.conf, the key is looked for in '
        '/etc/ceph/west.client.<name>.keyring (default: admin)',
    )


@contextlib.contextmanager
def sites_of(
    parsed_args: argparse.Namespace, service: glance.Glance
) -> Iterator[sites.Sites]:
    """The pools that a command may look into; none without --ceph-conf."""
    if not parsed_args.ceph_confs:
        yield sites.Sites()
        return
    details = service.store_details()
    with sites.connected(
        parsed_args.ceph_confs, parsed_args.ceph_user
    ) as clusters:
        yield sites.Sites.of(clusters, details)


def require_stores(
    named: Iterable[str], known: Sequence[stores.Store]
) -> list[str]:
    """Names of stores, each once.

    :raises errors.NotFound: if Glance has no store of such a name
    """
    ids = [store.id for store in known]
    for name in named:
        if name not in ids:
            raise errors.NotFound(
                f'Glance has no store {text.printable(name)}, only '
                f'{", ".join(ids)}'
            )
    return list(dict.fromkeys(named))


def find_all(
    service: glance.Glance, names: Collection[str]
) -> list[images.Image]:
    """Images by their ids or names, each once.

    :raises errors.NotFound: if there is no such image
    :raises errors.SeveralImages: if several have one of the names
    """
    found = {
        image.id: image for name in names if (image := service.find(name))
    }
    return list(found.values())
