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

"""Messages that a tenant reads, and their kinds, which Nova tells apart."""

import datetime
import inspect
import re

from nova import exception
import pytest

from nova_rbd_multistore import exceptions

IMAGE = '5e0d2c5a-9a6b-4c0e-8f0a-0b9d7c3e1f22'
STORE = 'dcn-west-17'
TASK = '0c6a2f4e-1111-4222-8333-444455556666'
FSID = 'a1b2c3d4-0000-4000-8000-a1b2c3d4e5f6'
ELSEWHERE = 'ffffffff-0000-4000-8000-ffffffffffff'
NOON = datetime.datetime(2026, 1, 1, 12)

#: What a user, Glance or Ceph could put into a message of ours.
HOSTILE = (
    'Error:\n2026-01-01 CRITICAL\x1b[31m\u202e http://10.1.2.3:9292/v2 '
    'rbd://fsid/pool/image/snap user:secret@host ' * 50
)

#: How to make each, and what its cause reads like in the first 120
#: characters.
INSTANCES = {
    'NotRaw': (
        lambda text: exceptions.NotRaw(IMAGE, text or 'qcow2'),
        'only raw and iso images can be cloned.*qcow2',
    ),
    'NotBare': (
        lambda text: exceptions.NotBare(IMAGE, text or 'compressed'),
        'only bare images can be cloned.*in container format compressed',
    ),
    'NotActive': (
        lambda text: exceptions.NotActive(IMAGE, text or 'deactivated'),
        'is deactivated, not active',
    ),
    'SnapshotIncomplete': (
        lambda text: exceptions.SnapshotIncomplete(
            IMAGE, text or 'it is queued, not active, after 600 s'
        ),
        'does not have the whole disk: it is queued, not active, after 600 s',
    ),
    'NotInLocalStore': (
        lambda _text: exceptions.NotInLocalStore(IMAGE),
        'no copy in the ceph cluster of this host',
    ),
    'OldLocation': (
        lambda _text: exceptions.OldLocation(IMAGE),
        'location of the old form, without cluster and snapshot',
    ),
    'NotInCluster': (
        lambda _text: exceptions.NotInCluster(IMAGE, STORE),
        'data is missing',
    ),
    'StoreNotNamed': (
        lambda _text: exceptions.StoreNotNamed(IMAGE, STORE),
        'a location that names no store, so glance',
    ),
    'CopyFailed': (
        lambda text: exceptions.CopyFailed(IMAGE, STORE, text or 'disk full'),
        'glance failed to copy the image: disk full',
    ),
    'CopyStalled': (
        lambda text: exceptions.CopyStalled(
            IMAGE, STORE, 300, text or TASK, holds=True, since=NOON, until=NOON
        ),
        f'copy stalled for 300 s: glance task {TASK} holds the image',
    ),
    'CopyRefused': (
        lambda text: exceptions.CopyRefused(
            IMAGE, STORE, text or 'Image has active task'
        ),
        'glance keeps refusing the copy: image has active task',
    ),
    'CopyQueued': (
        lambda text: exceptions.CopyQueued(
            IMAGE, STORE, 600, text or TASK, NOON, NOON
        ),
        f'not begun after 600 s, queued in glance since 12:00:00.*{TASK}',
    ),
    'ImageHeld': (
        lambda text: exceptions.ImageHeld(
            *(IMAGE, STORE, 600, text or 'the hashing of a location'),
            *(TASK, NOON),
        ),
        'not begun after 600 s, the image is held by the hashing of a loc',
    ),
    'CopyTimedOut': (
        lambda _text: exceptions.CopyTimedOut(
            IMAGE, STORE, 600, '42% copied (107 MiB)'
        ),
        'copy timed out after 600 s, 42% copied',
    ),
    'ImageGone': (
        lambda _text: exceptions.ImageGone(IMAGE),
        'is gone: it was deleted',
    ),
    'CopyForbidden': (
        lambda _text: exceptions.CopyForbidden(IMAGE, STORE),
        'glance forbids the copy: policy copy_image',
    ),
    'NotCopiedOnDemand': (
        lambda text: exceptions.NotCopiedOnDemand(IMAGE, STORE, text),
        'boots have no such images copied',
    ),
    'CopyOverQuota': (
        lambda _text: exceptions.CopyOverQuota(IMAGE, STORE),
        'quota of this project is used up',
    ),
    'LocationsForbidden': (
        lambda _text: exceptions.LocationsForbidden(IMAGE),
        'glance hides where the image lies: policy fetch_image_location',
    ),
    'TokenRefused': (
        lambda _text: exceptions.TokenRefused(IMAGE),
        'refuses the user.s token: it has expired or was revoked',
    ),
    'LocationRefused': (
        lambda _text: exceptions.LocationRefused(IMAGE),
        'is refused: one of its locations',
    ),
    'ClusterUnreachable': (
        lambda text: exceptions.ClusterUnreachable(
            text or '[errno 110] timed out'
        ),
        r'ceph cluster of this host cannot be used: \[errno 110\] timed out',
    ),
    'ClusterRefused': (
        lambda text: exceptions.ClusterRefused(
            text or '[errno 13] RADOS permission denied'
        ),
        r'refuses our cephx user: \[errno 13\] rados permission denied',
    ),
    'PoolUnusable': (
        lambda text: exceptions.PoolUnusable('vms', text or 'no such pool'),
        'pool vms .* cannot be used: no such pool',
    ),
    'DataPoolUnusable': (
        lambda text: exceptions.DataPoolUnusable(
            'vms-data', text or 'no such pool'
        ),
        "data pool vms-data of nova's disks cannot be used: no such pool",
    ),
    'PoolUnreadable': (
        lambda text: exceptions.PoolUnreadable(IMAGE, text or 'images'),
        'pool images, where the image lies, cannot be read',
    ),
    'DiskUnusable': (
        lambda text: exceptions.DiskUnusable(
            'vms', f'{IMAGE}_disk', text or 'it cannot be opened'
        ),
        'in pool vms is not usable: it cannot be opened',
    ),
    'HostStopping': (
        lambda _text: exceptions.HostStopping(),
        'nova-compute of this host is being stopped',
    ),
    'DiskNotRemoved': (
        lambda text: exceptions.DiskNotRemoved(
            'vms', f'{IMAGE}_disk', text or 'it has snapshot backup'
        ),
        'in pool vms cannot be removed: it has snapshot backup',
    ),
    'DiskElsewhere': (
        lambda _text: exceptions.DiskElsewhere(FSID, ELSEWHERE),
        f'disk is in ceph cluster {FSID}, the new host has {ELSEWHERE}',
    ),
    'DiskMissing': (
        lambda _text: exceptions.DiskMissing('vms', f'{IMAGE}_disk', FSID),
        f'no disk {IMAGE}_disk in pool vms of ceph cluster {FSID}',
    ),
    'DiskStillOpen': (
        lambda _text: exceptions.DiskStillOpen('vms', f'{IMAGE}_disk'),
        'a client has disk .* in pool vms open',
    ),
    'DiskOfAnotherCell': (
        lambda _text: exceptions.DiskOfAnotherCell('vms', f'{IMAGE}_disk'),
        'is there already: left by an earlier resize, or of the',
    ),
    'ImportFailed': (
        lambda text: exceptions.ImportFailed(
            'vms', f'{IMAGE}_disk', text or 'rbd: import failed: timed out'
        ),
        'did not make a disk from a file: rbd: import failed: timed out',
    ),
    'GlanceUnavailable': (
        lambda _text: exceptions.GlanceUnavailable(2),
        'no glance-api answered',
    ),
    'StoreUnavailable': (
        lambda _text: exceptions.StoreUnavailable(STORE, 3, 2),
        f'no glance-api that could copy to store {STORE} answered',
    ),
    'RequestFailed': (
        lambda text: exceptions.RequestFailed(
            IMAGE, STORE, text or 'HTTP 500 Internal Server Error'
        ),
        'glance fails at each request for a copy: http 500',
    ),
    'KeystoneUnavailable': (
        lambda _text: exceptions.KeystoneUnavailable('[service_user]'),
        'keystone does not answer',
    ),
    'IdentityUnusable': (
        lambda text: exceptions.IdentityUnusable(
            '[rbd_multistore] auth_type', text or 'HTTP 401'
        ),
        r'identity of \[rbd_multistore\] auth_type is not usable: http 401',
    ),
    'RegionAmbiguous': (
        lambda text: exceptions.RegionAmbiguous(
            ['RegionOne', text or 'RegionTwo']
        ),
        r'glance is in several regions \(.*regionone',
    ),
    'StoreUnknown': (
        lambda _text: exceptions.StoreUnknown(STORE),
        f'glance has no store named {STORE}',
    ),
    'SourceOutOfReach': (
        lambda text: exceptions.SourceOutOfReach(
            IMAGE, STORE, {text or 'east'}, [{text or 'file', STORE}]
        ),
        f'can read the image: it lies in east, and they have {STORE}, file',
    ),
    'StoreNotLocal': (
        lambda text: exceptions.StoreNotLocal(
            IMAGE, STORE, FSID, frozenset({text or ELSEWHERE})
        ),
        f'store {STORE} is not the ceph cluster of this host.*{FSID}',
    ),
}

#: Only derived from.
ABSTRACT = {
    'ImageError',
    'CopyError',
    'NotForThisUser',
    'SecurityRefusal',
    'HostError',
}

CLASSES = {
    name: cls
    for name, cls in vars(exceptions).items()
    if inspect.isclass(cls) and cls.__module__ == exceptions.__name__
}

each = pytest.mark.parametrize('name', sorted(INSTANCES))


def make(name, text=None):
    factory, _cause = INSTANCES[name]
    return factory(text)


def takes(name, parameter):
    return parameter in inspect.signature(CLASSES[name].__init__).parameters


def test_every_class_is_tested_here():
    assert set(CLASSES) == set(INSTANCES) | ABSTRACT


@each
def test_the_cause_is_in_the_first_120_characters(name):
    _factory, cause = INSTANCES[name]
    assert re.search(cause, str(make(name))[:120].lower())


@each
def test_the_message_says_what_to_do(name):
    said = str(make(name))
    assert len(said) > 60
    assert not said.endswith(':')


@each
@pytest.mark.parametrize('text', [None, HOSTILE], ids=['usual', 'hostile'])
def test_a_message_is_two_or_three_sentences(name, text):
    assert len(str(make(name, text))) <= 400


@each
@pytest.mark.parametrize('text', [None, HOSTILE], ids=['usual', 'hostile'])
def test_a_message_has_no_address(name, text):
    assert '://' not in str(make(name, text))


@each
def test_a_message_is_one_line_whatever_comes_in(name):
    assert str(make(name, HOSTILE)).isprintable()


@each
def test_the_image_is_named(name):
    if takes(name, 'image'):
        assert IMAGE in str(make(name))
        assert IMAGE in str(make(name, HOSTILE))


@each
def test_the_store_is_named(name):
    if takes(name, 'store'):
        assert STORE in str(make(name))
        assert STORE in str(make(name, HOSTILE))


@each
def test_no_placeholder_is_left_open(name):
    assert '%(' not in str(make(name))
    assert 'None' not in str(make(name))


@each
def test_a_percent_sign_in_foreign_text_is_text(name):
    assert '%(image)s' not in exceptions.CopyFailed.msg_fmt % {
        'reason': '100%',
        'image': IMAGE,
        'store': STORE,
    }
    make(name, '100% %s %(nothing)s %d')


@each
def test_an_error_can_be_remembered_and_shown_again(name):
    error = make(name)
    assert str(error) == str(error)
    assert error.args == (str(error),)


def test_a_stall_without_a_visible_task_says_what_is_known():
    said = str(
        exceptions.CopyStalled(
            IMAGE, STORE, 300, TASK, holds=True, since=None, until=None
        )
    )
    assert 'None' not in said
    assert 'Glance does not show that task' in said
    assert 'an hour after its last sign of life' in said


def test_a_stall_of_a_task_that_holds_nothing_says_so():
    said = str(
        exceptions.CopyStalled(
            IMAGE, STORE, 300, TASK, holds=False, since=NOON, until=None
        )
    )
    assert 'has not ended, without progress since 12:00:00 UTC' in said
    assert 'taken over at once' in said
    assert 'holds' not in said


def test_a_stall_names_since_when_and_until_when():
    said = str(make('CopyStalled'))
    assert 'since 12:00:00 UTC' in said
    assert 'at 2026-01-01 12:00:00 UTC' in said


def test_of_several_copies_that_failed_each_is_named():
    said = str(exceptions.CopyFailed(IMAGE, STORE, 'disk full', 'no file'))
    assert (
        'glance-api 1 of 2: disk full; glance-api 2 of 2: no file'
        in said[:120]
    )


def test_what_several_glance_apis_said_is_told_once():
    said = str(
        exceptions.CopyFailed(
            IMAGE, STORE, 'disk full', 'no file', 'disk full'
        )
    )
    assert (
        'glance-api 1 and 3 of 3: disk full; glance-api 2 of 3: no file'
    ) in said


@pytest.mark.parametrize('count', [2, 3, 8])
def test_many_copies_that_failed_make_no_long_message(count):
    reasons = [f'{number} {HOSTILE}' for number in range(count)]
    said = str(exceptions.CopyFailed(IMAGE, STORE, *reasons))
    assert len(said) <= 400
    assert said.isprintable()
    assert '://' not in said
    assert STORE in said


def test_the_stores_of_each_glance_api_are_named_once():
    said = str(
        exceptions.SourceOutOfReach(
            IMAGE,
            STORE,
            {'east', 'north'},
            [{'file', STORE}, {STORE}, {STORE, 'file'}, set()],
        )
    )
    assert 'it lies in east, north, and they have' in said
    assert f'have {STORE} or {STORE}, file or none.' in said


def test_a_store_in_no_cluster_says_so():
    said = str(exceptions.StoreNotLocal(IMAGE, STORE, FSID, frozenset()))
    assert 'lies in no Ceph cluster' in said


def test_a_store_elsewhere_names_both_fsids():
    said = str(make('StoreNotLocal'))
    assert FSID in said
    assert ELSEWHERE in said


# Kinds


def test_the_images_failures_end_the_build_or_are_downloaded():
    assert issubclass(exceptions.ImageError, exception.ImageUnacceptable)


def test_the_hosts_failures_make_nova_try_another_host():
    assert issubclass(exceptions.HostError, exception.NovaException)
    assert not issubclass(exceptions.HostError, exception.ImageUnacceptable)


@each
def test_every_error_is_of_exactly_one_kind(name):
    kinds = (exceptions.ImageError, exceptions.HostError)
    assert sum(issubclass(CLASSES[name], kind) for kind in kinds) == 1


def test_only_an_image_that_is_gone_is_not_found():
    # On a resize Nova then takes the disk from the source host.
    not_found = {
        name
        for name, cls in CLASSES.items()
        if issubclass(cls, exception.ImageNotFound)
    }
    assert not_found == {'ImageGone'}


def parents_drawn():
    """The class above each class in the module's drawing, by indentation."""
    drawn = {}
    path = []
    for line in exceptions.__doc__.splitlines():
        root = re.match(r'    nova\.exception\.(\w+)$', line)
        entry = re.match(r'(    [│ ]*)[├└]── (\w+)', line)
        if root:
            path = [(4, root[1])]
        elif entry:
            depth = len(entry[1])
            while len(path) > 1 and path[-1][0] > depth:
                path.pop()
            drawn[entry[2]] = path[-1][1]
            path.append((depth + 4, entry[2]))
    return drawn


def test_the_tree_drawn_is_the_tree():
    drawn = parents_drawn()
    assert set(drawn) == set(CLASSES)
    for name, parent in drawn.items():
        above = CLASSES.get(parent) or getattr(exception, parent)
        assert issubclass(CLASSES[name], above)
        between = set(CLASSES[name].__mro__) & {
            CLASSES[other] for other in drawn if other != name
        }
        assert not any(
            issubclass(cls, above) and cls is not above for cls in between
        )
