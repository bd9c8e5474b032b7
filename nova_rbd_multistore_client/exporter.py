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

"""The program ``nova-rbd-multistore-exporter``."""

import argparse
from collections.abc import Callable, Sequence
import functools
import inspect
import logging
import pathlib
import sys
import threading
import time
import warnings

from keystoneauth1 import exceptions as ksa_exceptions
import openstack
from openstack import connection
from openstack import exceptions as sdk_exceptions
from oslo_utils import timeutils
import pbr.version
import prometheus_client

from nova_rbd_multistore import conf
from nova_rbd_multistore import scrapes
from nova_rbd_multistore import text
from nova_rbd_multistore_client import cloud_metrics
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import glance
from nova_rbd_multistore_client import rulefile
from nova_rbd_multistore_client import survey

LOG = logging.getLogger(__name__)

NAME = 'nova-rbd-multistore-exporter'

DESCRIPTION = """
Tell Prometheus which images lie in which stores of Glance: how many, and of
how many bytes; copies under way, and those that failed; and, with --rules,
images that a store lacks.

It logs in as "openstack" does: by --os-cloud, which is an entry of
clouds.yaml, or by the environment (OS_CLOUD, or OS_AUTH_URL and so on). It
only reads. Images that this account does not see are not counted, so it should
be an administrator's, best by an application credential whose access rules let
it read images and nothing else:

    GET /v2/info/stores
    GET /v2/images
    GET /v2/images/*/tasks

All images are listed once per --interval, however often Prometheus asks: a
request for each thousand, and one for each image that a copy holds. Prometheus
gets the last count at once. While Glance does not answer, that count stays,
image_replica_glance_up is 0, and image_replica_last_list_timestamp_seconds
tells how old the count is.

See that it works, before you make it a service:

    nova-rbd-multistore-exporter --os-cloud mycloud --once
"""


def _address(word: str) -> str:
    try:
        return conf.Address()(word)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= conf.DAY:
        raise argparse.ArgumentTypeError(
            f'{word!r} is no number of seconds from 1 to {conf.DAY}'
        )
    return seconds


def make_parser() -> argparse.ArgumentParser:
    """What the program takes."""
    parser = argparse.ArgumentParser(
        prog=NAME,
        description=inspect.cleandoc(DESCRIPTION),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        '--os-cloud',
        metavar='<name>',
        help='Cloud of clouds.yaml (default: what the environment says)',
    )
    parser.add_argument(
        '--os-region-name',
        metavar='<region>',
        help='Region, if the cloud has several',
    )
    parser.add_argument(
        '--address',
        metavar='<address>',
        type=_address,
        default='127.0.0.1:9643',
        help='Where Prometheus may ask: a port, on loopback; or '
        '<address>:<port>, an IPv6 address in brackets. There is neither a '
        'password nor TLS (default: 127.0.0.1:9643)',
    )
    parser.add_argument(
        '--interval',
        metavar='<seconds>',
        type=_seconds,
        default=60.0,
        help='How often to list all images (default: 60). There is a pause '
        'of the same length as a list takes, at least',
    )
    parser.add_argument(
        '--timeout',
        metavar='<seconds>',
        type=_seconds,
        default=60.0,
        help='How long Glance may be silent before it counts as away '
        '(default: 60)',
    )
    parser.add_argument(
        '--rules',
        metavar='<file>',
        type=pathlib.Path,
        help='File of "openstack image replica sync", to count what is '
        'missing by it. Read again before each list',
    )
    parser.add_argument(
        '--once',
        action='store_true',
        help='List images, print the metrics, and end: with 1 if Glance did '
        'not let them be listed',
    )
    return parser


def connect(options: argparse.Namespace) -> connection.Connection:
    """Where to log in, and as whom: no request is sent yet.

    :raises errors.WrongUse: if that is not said
    """
    try:
        return openstack.connect(
            cloud=options.os_cloud,
            region_name=options.os_region_name,
            api_timeout=options.timeout,
            app_name=NAME,
        )
    except (
        sdk_exceptions.SDKException,
        ksa_exceptions.ClientException,
    ) as exc:
        raise errors.WrongUse(
            f'Do not know where to log in, and as whom: {_line(exc)}. Name a '
            'cloud of clouds.yaml with --os-cloud, or set OS_AUTH_URL and so '
            'on.'
        ) from exc


def _let_in(options: argparse.Namespace) -> glance.Glance:
    # Anew each time: it keeps a catalog that has no Glance.
    to = connect(options)
    try:
        api = to.image
        # What stands for a Glance that is not there raises when it is used.
        api.get_endpoint()
    except Exception as exc:  # what keystoneauth raises without a password
        raise errors.Unreachable(f'Cannot log in: {_line(exc)}') from exc
    return glance.Glance(api, options.timeout)


def _line(exc: Exception) -> str:
    return text.printable(text.without_credentials(str(exc))).rstrip('.')


def look_for_ever(
    look: Callable[[], None],
    interval: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """Look once per interval, and never for more than half of the time.

    :param interval: seconds from the beginning of one look to the next
    """
    while True:
        began = clock()
        look()
        took = clock() - began
        sleep(max(interval - took, took))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    options = make_parser().parse_args(arguments)
    # Of what libraries warn of, at each look, the errors here say more.
    logging.basicConfig(
        level=logging.ERROR, format='%(levelname)s: %(message)s'
    )
    logging.getLogger(__package__).setLevel(logging.INFO)
    if not sys.warnoptions:
        # Of the libraries, for their developers.
        warnings.simplefilter('ignore')
    try:
        return _run(options)
    except errors.WrongUse as exc:
        LOG.error('%s', exc)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    rules = None
    if options.rules is not None:
        rules = functools.partial(rulefile.read, options.rules)
    # What is not said now will not be said later.
    connect(options)
    looks = survey.Survey(
        functools.partial(_let_in, options),
        rules,
        survey.Time(time.monotonic, lambda: timeutils.utcnow()),
    )
    told = prometheus_client.CollectorRegistry()
    told.register(
        cloud_metrics.CloudMetrics(
            str(pbr.version.VersionInfo('nova-rbd-multistore')),
            lambda: looks.sight,
        )
    )
    if options.once:
        looks.look()
        sys.stdout.write(prometheus_client.generate_latest(told).decode())
        return 0 if looks.sight.well else 1
    try:
        port = scrapes.Port(options.address, told)
    except OSError as exc:
        raise errors.WrongUse(
            f'Cannot listen at {options.address}: {exc.strerror}'
        ) from exc
    looked = threading.Event()

    def answer() -> None:
        # The first to ask are to get a count: they wait until it is there.
        looked.wait()
        port.answer_all()

    def look() -> None:
        looks.look()
        looked.set()

    threading.Thread(target=answer, daemon=True).start()
    LOG.info('Serving metrics at http://%s/metrics', options.address)
    look_for_ever(look, options.interval, time.monotonic, time.sleep)
    return 0


if __name__ == '__main__':
    sys.exit(main())
