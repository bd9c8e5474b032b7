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

"""Whether this host has what boots need: options, programs, Nova, time."""

from nova import exception
from nova import version as nova_version
from oslo_utils import units

from nova_rbd_multistore import ceph
from nova_rbd_multistore import driver
from nova_rbd_multistore import grade
from nova_rbd_multistore import pace
from nova_rbd_multistore import surroundings

#: Major releases of Nova that the tests run with.
RELEASES = (31, 32, 33, 34)

#: Bytes a second over a line of 1 Gbit/s, filled to 90 %, and into a store:
#: as in the table of doc/source/sizing.rst.
LINE = 1e9 / 8 * 0.9
WRITING = 500 * units.Mi

#: Seconds that Ceph takes to do without an OSD, with its defaults.
OSD_IS_GONE = 45


def options(compute_driver: str | None) -> grade.Result:
    """Check what ``nova-compute`` checks when it starts.

    :param compute_driver: ``[DEFAULT] compute_driver``
    """
    try:
        driver.check_configuration()
    except exception.InvalidConfiguration as exc:
        return grade.fails(str(exc))
    if (compute_driver or '').partition('.')[0] != 'rbd_multistore':
        return grade.warns(
            f'[DEFAULT] compute_driver is {compute_driver!r}: nova-compute '
            'does not load this driver. Set it to '
            'rbd_multistore.LibvirtDriver.'
        )
    return grade.passes('Options of [libvirt] and [rbd_multistore] are well.')


def programs() -> grade.Result:
    """Check what Nova runs beside itself."""
    found = []
    if not surroundings.has_program_rbd():
        found.append(
            grade.fails(
                'There is no program rbd: servers with a config drive, an '
                'ephemeral or a swap disk will not boot. Install ceph-common.'
            )
        )
    reason = surroundings.why_qemu_img_lacks_rbd()
    if reason:
        found.append(
            grade.fails(
                f'qemu-img cannot use RBD: {reason}. Install qemu-utils and '
                "QEMU's block driver for RBD (qemu-block-extra on Debian and "
                'Ubuntu).'
            )
        )
    version = ceph.librbd_version()
    shown = '.'.join(map(str, version))
    if version < surroundings.OLDEST_LIBRBD:
        found.append(
            grade.warns(
                f'librbd {shown} is older than what this driver was tested '
                'with: copies may not be seen arriving. Install Ceph 16 or '
                'later.'
            )
        )
    return grade.worst(
        found
        or [
            grade.passes(
                f'rbd, qemu-img with RBD, and librbd {shown} are there.'
            )
        ]
    )


def nova(version: str = '') -> grade.Result:
    """Check the release of Nova.

    :param version: of Nova, that of this environment by default
    """
    version = version or nova_version.version_string()
    major = version.partition('.')[0]
    if major.isdigit() and int(major) in RELEASES:
        return grade.passes(f'Nova {version}.')
    tested = ', '.join(map(str, RELEASES))
    return grade.warns(
        f'Nova {version} is none of the releases that this driver was tested '
        f'with ({tested}): see "Releases" in its documentation.'
    )


def time_outs(
    size: int | None, limits: pace.Limits, osd_op_timeout: float
) -> grade.Result:
    """Check that the largest image can be copied in time.

    :param size: of that image in bytes, None if there is no image
    :param osd_op_timeout: ``[rbd_multistore] rados_osd_op_timeout``
    """
    found = []
    if osd_op_timeout < OSD_IS_GONE:
        found.append(
            grade.warns(
                f'[rbd_multistore] rados_osd_op_timeout is {osd_op_timeout} '
                f's: Ceph takes up to {OSD_IS_GONE} s to do without an OSD '
                'that is gone, and boots fail meanwhile.'
            )
        )
    if limits.poll_interval >= limits.timeout:
        found.append(
            grade.warns(
                '[libvirt] images_rbd_glance_copy_poll_interval is '
                f'{limits.poll_interval} s, and no less than '
                f'images_rbd_glance_copy_timeout, {limits.timeout} s: the end '
                'of a copy may be seen too late.'
            )
        )
    if size is None:
        return grade.worst(
            [*found, grade.passes('There is no image to be copied yet.')]
        )
    return grade.worst([*found, _copy_in_time(size, limits)])


def _copy_in_time(size: int, limits: pace.Limits) -> grade.Result:
    gibibytes = f'{size / units.Gi:.1f} GiB'
    staging = size / LINE
    copy = staging + size / WRITING
    room = (
        f'Each copy of it needs {gibibytes} in the staging directory of its '
        'glance-api.'
    )
    too_short = [
        f'{option} is {limit} s, and {what} takes {needed:.0f} s'
        for option, limit, what, needed in (
            (
                '[rbd_multistore] copy_stall_timeout',
                limits.stall_timeout,
                'its staging',
                staging,
            ),
            (
                '[libvirt] images_rbd_glance_copy_timeout',
                limits.timeout,
                'its copy',
                copy,
            ),
        )
        if limit < needed
    ]
    if too_short:
        return grade.warns(
            f'The largest image has {gibibytes}. Over a line of 1 Gbit/s: '
            f'{"; ".join(too_short)}. Boots would give up a healthy copy: '
            f'raise it, or have the image copied before it is needed. {room}'
        )
    return grade.passes(
        f'The largest image has {gibibytes}: staged in {staging:.0f} s and '
        f'copied in {copy:.0f} s over a line of 1 Gbit/s. {room}'
    )
