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

"""The commands of ``tools/lab``."""

import argparse
from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import fcntl
import shlex
import shutil
import subprocess
import sys
import time

from cliff import app
from cliff import command
from cliff import commandmanager
from cliff import lister

from lab import ceph_root
from lab import cloud
from lab import credentials
from lab import errors
from lab import files
from lab import layout
from lab import leaks
from lab import order
from lab import preflight
from lab import programs
from lab import service
from lab import services as every
from lab import settings

Table = tuple[Sequence[str], Sequence[Sequence[object]]]


@contextlib.contextmanager
def _alone(where: layout.Layout) -> Iterator[None]:
    """Only one call at a time may change a lab."""
    where.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (where.root / 'lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.NotPossible(
                f'another tools/lab is at work on {where.root}: wait for it'
            ) from None
        yield


def _table(where: layout.Layout) -> Table:
    """What runs where."""
    columns = ('Program', 'State', 'PID', 'Up', 'Listens on', 'Log')
    rows = []
    for status in programs.Supervisor(where).status().values():
        port = layout.PORTS.get(status.name)
        up = int(time.time()) - status.started if status.pid else 0
        rows.append(
            (
                status.name,
                status.state.name,
                status.pid or '',
                f'{up // 60} min {up % 60:02} s' if status.pid else '',
                f'{layout.HOST}:{port}' if port else '',
                f'{where.log_of(status.name)}',
            )
        )
    return columns, rows


class Up(lister.Lister):
    """Start the lab, or what of it does not run, and show what runs where.

    Its data, settings and passwords are made the first time and kept.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--driver',
            choices=settings.DRIVERS,
            help='what the computes run: this project, or, for comparison, '
            'Nova alone with the Glance setting that it needs '
            '(default: as the last time; at first: multistore)',
        )
        parser.add_argument(
            '--threading',
            choices=settings.THREADING,
            help='how the Nova services run side by side '
            '(default: as the last time; at first: native)',
        )
        parser.add_argument(
            '--data-pools',
            action=argparse.BooleanOptionalAction,
            help='whether new images and disks have their data in pools of '
            "their own, by Ceph's rbd_default_data_pool "
            '(default: as the last time; at first: no)',
        )
        parser.add_argument(
            '--ceph',
            choices=settings.CEPHS,
            help="whose Ceph daemons: the machine's, or Ceph 20, of Debian's "
            'unstable suite; for the life of a lab '
            "(default: as the last time; at first: the machine's)",
        )
        parser.add_argument(
            '--site-scheduling',
            action=argparse.BooleanOptionalAction,
            help="whether Nova's scheduler has this project's filter and "
            'weigher (default: as the last time; at first: no)',
        )
        for option, what in (
            ('--with', 'have it beside the rest'),
            ('--without', 'do without it again'),
        ):
            parser.add_argument(
                option,
                action='append',
                choices=settings.PARTS,
                default=[],
                metavar='PART',
                dest=f'{option.removeprefix("--")}_parts',
                help=f'{what}: {", ".join(settings.PARTS)}; may be repeated '
                '(default: as the last time; at first: without)',
            )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        where = layout.Layout.from_environment()
        preflight.machine(where)
        asked = {
            field.name: getattr(parsed_args, field.name)
            for field in dataclasses.fields(settings.Settings)
            if getattr(parsed_args, field.name, None) is not None
        }
        with _alone(where):
            before = settings.Settings.load(where)
            chosen = dataclasses.replace(
                before.with_parts(
                    parsed_args.with_parts, parsed_args.without_parts
                ),
                **asked,
            )
            preflight.clusters(where, before, chosen)
            self._up(where, chosen)
        return _table(where)

    def _up(self, where: layout.Layout, chosen: settings.Settings) -> None:
        lab = service.Lab(where, credentials.Credentials.make(where), chosen)
        services = every.services(lab)
        preflight.packages(where, services)
        for path in (where.log, where.run, where.tests):
            path.mkdir(exist_ok=True)
        chosen.save(where)
        for item in services:
            item.configure()
        lab.supervisor.configure(
            program for item in services for program in item.daemons()
        )
        order.in_order(services, _start, lab.given_up)
        for status in lab.supervisor.status().values():
            if not status.state.alive:
                raise errors.ServiceFailed(
                    f'{status.name} came up and died. '
                    f'{files.end(where.log_of(status.name))}'
                )


def _start(item: service.Service) -> None:
    item.start()
    item.say('ready')


class Fetch(command.Command):
    """Download Ceph 20, so that `up --ceph 20` needs no network."""

    def take_action(self, parsed_args: argparse.Namespace) -> None:  # noqa: ARG002
        preflight.superuser()
        where = layout.Layout.from_environment()
        with _alone(where):
            where.log.mkdir(exist_ok=True)
            made = credentials.Credentials.make(where)
            chosen = settings.Settings.load(where)
            ceph_root.Root(service.Lab(where, made, chosen)).make()


class Down(command.Command):
    """Stop every process of the lab, guests too; its data stays."""

    def take_action(self, parsed_args: argparse.Namespace) -> None:  # noqa: ARG002
        preflight.superuser()
        where = layout.Layout.from_environment()
        if where.root.exists():
            _down(where)


def _down(where: layout.Layout) -> None:
    lab = service.Lab(
        where,
        credentials.Credentials.load(where),
        settings.Settings.load(where),
    )
    with _alone(where):
        try:
            order.in_reverse(every.services(lab), _stop, lab.given_up)
        finally:
            lab.supervisor.shut_down()


def _stop(item: service.Service) -> None:
    running = item.running()
    item.stop()
    if running:
        item.say('stopped')


class Destroy(command.Command):
    """Stop the lab and remove its directory, with all its data."""

    def take_action(self, parsed_args: argparse.Namespace) -> None:  # noqa: ARG002
        preflight.superuser()
        where = layout.Layout.from_environment()
        if where.root.exists():
            # Refuses a directory, whatever is in NOVA_RBD_LAB_DIR, in which
            # there is no lab.
            _down(where)
            shutil.rmtree(where.root)


class Status(lister.Lister):
    """Show what runs where."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:  # noqa: ARG002
        where = layout.Layout.from_environment()
        credentials.Credentials.load(where)
        chosen = settings.Settings.load(where)
        self.app.LOG.info(
            'The lab in %s: driver %s (%s), %s threading',
            where.root,
            chosen.driver,
            chosen.compute_driver,
            chosen.threading,
        )
        columns, rows = _table(where)
        if not rows:
            self.app.LOG.info('It is down: tools/lab up starts it')
        return columns, rows


class Env(command.Command):
    """Print what a shell needs to know: eval "$(tools/lab env)"."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--user',
            choices=cloud.PROJECTS,
            default='admin',
            help='whose OS_* variables (default: admin)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        where = layout.Layout.from_environment()
        account = dataclasses.asdict(cloud.account(parsed_args.user, where))
        variables = {
            f'OS_{name.upper()}': value for name, value in account.items()
        }
        variables |= {
            'OS_IDENTITY_API_VERSION': '3',
            'OS_REGION_NAME': layout.REGION,
            'NOVA_RBD_LAB_DIR': str(where.root),
            'NOVA_RBD_LAB_LOGS': str(where.log),
            'NOVA_RBD_LAB_STATE': str(where.data),
            'NOVA_RBD_VENV': str(where.venv),
        }
        for site in where.sites:
            variables[f'CEPH_CONF_{site.name.upper()}'] = str(site.ceph_conf)
        for name, value in variables.items():
            self.app.stdout.write(f'export {name}={shlex.quote(value)}\n')


class Logs(command.Command):
    """Show the end of a program's log."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('name', help='of the program, as status shows it')
        parser.add_argument(
            '-f',
            '--follow',
            action='store_true',
            help='go on as the log grows',
        )
        parser.add_argument(
            '-n',
            '--lines',
            type=int,
            default=50,
            help='how many (default: 50)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        where = layout.Layout.from_environment()
        path = where.log_of(parsed_args.name)
        if not path.exists():
            known = sorted(log.stem for log in where.log.glob('*.log'))
            raise errors.LabError(
                f'no log of {parsed_args.name!r}; there are: '
                f'{", ".join(known) or "none yet"}'
            )
        follow = ['--follow=name'] if parsed_args.follow else []
        subprocess.run(
            ['tail', f'--lines={parsed_args.lines}', *follow, path],
            check=True,
        )


class Leaks(command.Command):
    """Look for the lab's secrets where they may not be.

    In the logs of its daemons and of the tests, in files that all may read,
    in the command lines of what runs, and in the faults of servers.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> None:  # noqa: ARG002
        preflight.superuser()
        where = layout.Layout.from_environment()
        search = leaks.Search(where, leaks.Secrets.of(where))
        # A log that all may read has its leaks twice.
        found = dict.fromkeys(search.everywhere())
        self.app.LOG.info(
            'Searched %d logs, files, processes and faults, of %.1f MiB',
            search.searched,
            search.size / 2**20,
        )
        if found:
            raise errors.LabError(
                '\n'.join([f'{len(found)} leaks:', *map(str, found)])
            )


class LabApp(app.App):
    """tools/lab."""

    NAME = 'tools/lab'

    def __init__(self) -> None:
        commands = commandmanager.CommandManager('lab')
        for name, kind in (
            ('up', Up),
            ('down', Down),
            ('fetch', Fetch),
            ('status', Status),
            ('env', Env),
            ('logs', Logs),
            ('leaks', Leaks),
            ('destroy', Destroy),
        ):
            commands.add_command(name, kind)
        super().__init__(
            description='A cloud of two sites on this machine',
            version=None,
            command_manager=commands,
            deferred_help=True,
        )
        self.parser.prog = self.NAME


def main(arguments: Sequence[str] | None = None) -> int:
    return LabApp().run(list(arguments or sys.argv[1:]))
