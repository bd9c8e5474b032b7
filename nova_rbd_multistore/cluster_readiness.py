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

"""Whether this host's Ceph cluster has what boots need."""

from typing import Protocol
import uuid

from nova_rbd_multistore import arrival
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import grade


class Cluster(Protocol):
    """What is asked of the cluster; see :class:`ceph.Cluster`."""

    def fsid(self) -> str: ...

    def check_new_disks(self, pool: str) -> None: ...

    def arrival(self, pool: str, image: str) -> arrival.Arrival: ...

    def clone_version(self) -> int: ...


def reach(cluster: Cluster, user: str | None) -> grade.Result:
    """Check that the cluster answers.

    :param user: cephx user without ``client.``
    :raises ClusterUnreachable: if it does not
    """
    return grade.passes(
        f'Cluster {cluster.fsid()} answers client.{user or "admin"}.'
    )


def pools(cluster: Cluster, own: str, glance: str) -> grade.Result:
    """Check that disks could be made, and images seen.

    :param own: Nova's pool
    :param glance: that in which the local store keeps its images
    :raises ClusterUnreachable: if the cluster does not answer
    """
    found = []
    try:
        cluster.check_new_disks(own)
    except exceptions.PoolUnusable as exc:
        found.append(grade.fails(str(exc)))
    try:
        cluster.arrival(glance, f'no-image-{uuid.uuid4()}')
    except arrival.ArrivalsHidden as exc:
        found.append(
            grade.fails(
                f'Images cannot be read: {exc}. Check [rbd_multistore] '
                'glance_rbd_pool, and that client.<rbd_user> has the cap osd '
                f'"profile rbd-read-only pool={glance}".'
            )
        )
    return grade.worst(
        found
        or [
            grade.passes(
                f'Disks can be made in pool {own}, images read in {glance}.'
            )
        ]
    )


def clones(cluster: Cluster) -> grade.Result:
    """Check that clones do not keep images from being deleted.

    :raises ClusterUnreachable: if the cluster does not answer
    """
    version = cluster.clone_version()
    if version >= 2:
        return grade.passes(
            'Clones are of version 2: images can be deleted at any time.'
        )
    return grade.warns(
        'Clones are of version 1: an image with clones cannot be deleted, and '
        'an attempt removes it from other stores. "ceph osd '
        'set-require-min-compat-client mimic" changes that for new clones, if '
        'all clients of the cluster are that new.'
    )
