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

"""``openstack image replica sync``, and the file that it reads."""

import contextlib
import inspect
import json
import pathlib

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import plan
from nova_rbd_multistore_client import wanted
from nova_rbd_multistore_client.commands.sync import SyncReplicas
from tests.unit.client import conftest

GOOD = """\
version: 1
rules:
  - images: {name: "debian-*", visibility: public}
    stores: [east, west]
  - images:
      tags: [golden]
      properties: {os_distro: ubuntu}
      owner: demo
    stores: all
  - images: {ids: [an-id], owner: demo}
    stores: [east]
    exclusive: true
"""


def test_a_file_becomes_rules_that_know_their_lines():
    first, second, third = wanted.parse(GOOD, 'f')
    assert (first.line, first.name, first.stores) == (
        3,
        'debian-*',
        ('east', 'west'),
    )
    assert second.stores is None
    assert second.properties == {'os_distro': 'ubuntu'}
    assert third.exclusive
    assert third.ids == {'an-id'}


@pytest.mark.parametrize(
    ('old', 'new', 'line', 'reason'),
    [
        ('version: 1', 'version: 2', 1, 'version: 1 was expected'),
        ('stores: all', 'stores: some', 9, 'neither "all" nor a list'),
        ('stores: all', 'stores: []', 9, 'neither "all" nor a list'),
        ('stores: all', 'stroes: all', 9, "'stroes' was unexpected"),
        ('    stores: all', '', 5, "'stores' is a required"),
        ('tags: [golden]', 'tag: [golden]', 6, "'tag' was unexpected"),
        ('visibility: public', 'visibility: all', 3, "'all' is not one of"),
        ('os_distro: ubuntu', 'os_version: 24.04', 7, 'is not of type'),
        ('exclusive: true', 'exclusive: sure', 12, 'is not of type'),
        ('{ids: [an-id], owner: demo}', '{}', 10, 'should be non-empty'),
        ('rules:', 'rules: {', 3, 'no YAML'),
        ('    stores: all', '    stores: all\n    stores: all', 10, 'twice'),
        (GOOD, '', 1, 'nothing in it'),
        (GOOD, '- a', 1, 'is not of type'),
        (GOOD, 'a: [', 1, 'no YAML'),
        (GOOD, 'a: \0', 1, 'no YAML'),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old, new, line, reason):
    assert old in GOOD
    with pytest.raises(wanted.WrongFile) as caught:
        wanted.parse(GOOD.replace(old, new), 'wishes.yaml')
    assert str(caught.value).startswith(f'wishes.yaml:{line}: ')
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    'criteria',
    [
        'name: "debian-*"',
        'tags: [golden]',
        'properties: {os_distro: debian}',
        'name: "debian-*", tags: [golden], properties: {os_distro: debian}',
        'name: "debian-*", visibility: private',
        'name: "debian-*", visibility: shared',
        # Any user may open an image to all.
        'visibility: community',
    ],
)
def test_a_rule_that_any_user_may_join_is_refused(criteria):
    content = (
        f'version: 1\nrules:\n  - stores: all\n    images: {{{criteria}}}\n'
    )
    with pytest.raises(
        wanted.WrongFile, match=r'^f:4: rules\[0\]\.images: any user'
    ):
        wanted.parse(content, 'f')


@pytest.mark.parametrize(
    'criterion', ['ids: [an-id]', 'owner: demo', 'visibility: public']
)
def test_a_rule_that_says_whose_images_it_means_is_good(criterion):
    content = (
        'version: 1\n'
        'rules:\n'
        f'  - images: {{name: "debian-*", {criterion}}}\n'
        '    stores: all\n'
    )
    assert len(wanted.parse(content, 'f')) == 1


@settings(deadline=None)
@given(st.text(alphabet='abc:-[]{}"\'\n &*!|>?%@`#,', max_size=60))
def test_whatever_is_in_a_file_is_rules_or_one_error(content):
    with contextlib.suppress(wanted.WrongFile):
        wanted.parse(content, 'f')


def image(name='debian-12', *stores, **fields):
    record = image_values.ImageRecord(
        fields.pop('id', 'an-image'),
        fields.pop('status', 'active'),
        owner=fields.pop('owner', 'demo'),
        visibility=fields.pop('visibility', 'public'),
        stores=frozenset(stores),
    )
    return images.Image(record, name, **fields)


@pytest.mark.parametrize(
    ('criteria', 'applies'),
    [
        ({'name': 'debian-*'}, True),
        ({'name': 'DEBIAN-*'}, False),
        ({'ids': frozenset({'an-image'})}, True),
        ({'ids': frozenset({'other'})}, False),
        ({'owner': 'demo', 'visibility': 'public'}, True),
        ({'owner': 'demo', 'visibility': 'private'}, False),
        ({'tags': frozenset({'golden'})}, True),
        ({'tags': frozenset({'golden', 'new'})}, False),
        ({'properties': {'os_distro': 'debian'}}, True),
        ({'properties': {'os_distro': 'ubuntu'}}, False),
    ],
)
def test_a_rule_applies_where_all_its_criteria_are_met(criteria, applies):
    found = image(
        tags=frozenset({'golden'}), properties={'os_distro': 'debian'}
    )
    assert wanted.Rule(1, None, **criteria).applies_to(found) is applies


STORES = ('file', 'east', 'west')


def test_a_plan_has_what_is_missing_and_what_is_too_much():
    rule = wanted.Rule(1, ('west',), exclusive=True)
    made = plan.make([image('debian', 'east')], [rule], STORES)
    (change,) = made.changes
    assert (change.into, change.out_of) == (('west',), ('east',))


def test_what_any_rule_wants_stays():
    rules = [
        wanted.Rule(1, ('west',), exclusive=True),
        wanted.Rule(2, ('east',)),
    ]
    made = plan.make([image('debian', 'east', 'west')], rules, STORES)
    assert made.changes == ()
    assert made.as_wanted == 1


def test_images_without_data_are_left_alone():
    made = plan.make([image(status='queued')], [wanted.Rule(1, None)], STORES)
    assert made.changes == ()


def test_a_rule_that_applies_to_nothing_is_told():
    idle = wanted.Rule(1, None, name='nothing')
    assert plan.make([image()], [idle], STORES).idle == (idle,)


some = st.lists(st.sampled_from(STORES), unique=True)


@given(
    held=some,
    rules=st.lists(
        st.builds(
            wanted.Rule,
            line=st.just(1),
            stores=st.one_of(st.none(), some.map(tuple)),
            exclusive=st.booleans(),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_a_plan_that_is_done_leaves_nothing_to_do(held, rules):
    made = plan.make([image('x', *held)], rules, STORES)
    after = set(held)
    for change in made.changes:
        assert not set(change.into) & set(change.out_of)
        after = (after | set(change.into)) - set(change.out_of)
    assert plan.make([image('x', *after)], rules, STORES).changes == ()


@pytest.fixture
def sync(run, tmp_path):
    def sync(rules, *arguments):
        path = tmp_path / 'wishes.yaml'
        path.write_text(f'version: 1\nrules:\n{rules}')
        done = run(SyncReplicas, str(path), '-f', 'json', *arguments)
        return done, {
            (row['Change'], row['Store'], row['Name']): row['Result']
            for row in json.loads(done.out)
        }

    return sync


EVERYWHERE = '- {images: {owner: demo}, stores: all}\n'
WEST_ALONE = '- {images: {owner: demo}, stores: [west], exclusive: true}\n'


def test_a_dry_run_shows_the_plan_and_does_nothing(sync, proxy):
    proxy.add('debian', 'east', 'west')
    done, changes = sync(EVERYWHERE, '--dry-run')
    assert changes == {('+', 'file', 'debian'): 'would be copied'}
    assert done.status == 3
    assert all(method == 'GET' for method, _ in proxy.asked)


def test_nothing_to_do_is_all_well(sync, proxy):
    proxy.add('debian', 'file', 'east', 'west')
    done, changes = sync(EVERYWHERE)
    assert changes == {}
    assert done.status == 0
    assert '1 images lie as they should' in done.err


def test_copies_are_made_before_others_are_deleted(sync, proxy):
    image_id = proxy.add('debian', 'east')
    done, changes = sync(WEST_ALONE, '--wait')
    assert changes == {
        ('+', 'west', 'debian'): 'copied',
        ('-', 'east', 'debian'): 'deleted',
    }
    assert done.status == 0
    assert proxy.held(image_id) == {'west'}


def test_without_waiting_the_next_run_does_the_rest(sync, proxy):
    image_id = proxy.add('debian', 'east')
    done, changes = sync(WEST_ALONE)
    assert changes[('+', 'west', 'debian')] == 'requested'
    assert changes[('-', 'east', 'debian')].startswith('kept: ')
    assert done.status == 0
    proxy.clock.sleep(60)
    _, changes = sync(WEST_ALONE)
    assert changes == {('-', 'east', 'debian'): 'deleted'}
    assert proxy.held(image_id) == {'west'}


def test_what_servers_run_on_is_not_deleted_blindly(sync, proxy, compute):
    compute.add(proxy.add('debian', 'east', 'west'))
    _, changes = sync(WEST_ALONE)
    assert 'may be clones' in changes[('-', 'east', 'debian')]


def test_a_failed_copy_is_told(sync, proxy):
    proxy.add('debian', 'east')
    proxy.failures['west'] = 'no space'
    done, changes = sync(WEST_ALONE, '--wait')
    assert changes[('+', 'west', 'debian')] == 'failed: no space'
    assert done.status == 3


def test_where_the_wanted_copy_failed_all_others_are_kept(sync, proxy):
    image_id = proxy.add('debian', 'east', 'file')
    proxy.failures['west'] = 'no space'
    done, changes = sync(WEST_ALONE, '--wait')
    kept = 'kept: the copy to west failed'
    assert changes[('-', 'east', 'debian')] == kept
    assert changes[('-', 'file', 'debian')] == kept
    assert done.status == 3
    assert proxy.held(image_id) == {'east', 'file'}


def test_one_wanted_copy_that_is_not_well_is_enough(sync, proxy):
    image_id = proxy.add('debian', 'file', 'west')
    proxy.failures['east'] = 'no space'
    _, changes = sync(
        '- {images: {owner: demo}, stores: [east, west], exclusive: true}\n',
        '--wait',
    )
    assert changes[('-', 'file', 'debian')] == 'kept: the copy to east failed'
    assert proxy.held(image_id) == {'file', 'west'}


def test_the_failure_of_one_image_keeps_no_other_image(sync, proxy):
    proxy.add('debian', 'east', 'file')
    there = proxy.add('ubuntu', 'file', 'west')
    proxy.failures['west'] = 'no space'
    _, changes = sync(WEST_ALONE, '--wait')
    assert changes[('-', 'file', 'ubuntu')] == 'deleted'
    assert proxy.held(there) == {'west'}


def test_a_copy_that_fails_after_it_was_requested_keeps_the_others(
    sync, proxy
):
    image_id = proxy.add('debian', 'east', 'file')
    proxy.failures['west'] = 'no space'
    # Not waited for, it fails before the first deletion.
    proxy.start = proxy.pace = 0.0
    _, changes = sync(WEST_ALONE)
    assert changes[('+', 'west', 'debian')] == 'requested'
    assert changes[('-', 'east', 'debian')] == 'kept: it is not in store west'
    assert proxy.held(image_id) == {'east', 'file'}


def test_a_wanted_store_that_is_read_only_may_never_have_it(sync, proxy):
    image_id = proxy.add('debian', 'east', 'file')
    proxy.stores['west']['read-only'] = 'true'
    _, changes = sync(WEST_ALONE, '--wait')
    kept = 'kept: it is not in store west'
    assert changes == {
        ('-', 'east', 'debian'): kept,
        ('-', 'file', 'debian'): kept,
    }
    assert proxy.held(image_id) == {'east', 'file'}


def test_a_wanted_copy_without_its_data_keeps_the_others(
    sync, proxy, east, west
):
    image_id = proxy.add('debian', 'east', 'file', 'west')
    east.add(image_id)
    done, changes = sync(WEST_ALONE, *conftest.CEPH)
    kept = 'kept: the copy in store west has not its whole data'
    assert changes == {
        ('-', 'east', 'debian'): kept,
        ('-', 'file', 'debian'): kept,
    }
    assert done.status == 3
    assert proxy.held(image_id) == {'east', 'file', 'west'}


def test_a_wanted_copy_that_nobody_can_look_at_keeps_the_others(
    sync, proxy, east, west
):
    image_id = proxy.add('debian', 'east', 'west')
    east.add(image_id)
    proxy.locations[image_id] = [
        {
            'url': f'rbd://fsid-{store}/{pool}/{image_id}/snap',
            'metadata': {'store': store},
        }
        for store, pool in (('east', 'images'), ('west', 'images-old'))
    ]
    west.closed['images-old'] = errors.Unreachable('no such pool')
    done, changes = sync(WEST_ALONE, *conftest.CEPH)
    assert (
        'kept: store west: its data lies in'
        in (changes[('-', 'east', 'debian')])
    )
    assert done.status == 3
    assert proxy.held(image_id) == {'east', 'west'}


def test_a_dry_run_says_which_copies_are_to_be_well_first(sync, proxy):
    proxy.add('debian', 'east')
    proxy.add('ubuntu', 'east', 'west')
    _, changes = sync(WEST_ALONE, '--dry-run')
    assert changes == {
        ('+', 'west', 'debian'): 'would be copied',
        ('-', 'east', 'debian'): 'would be deleted, once it is in west',
        ('-', 'east', 'ubuntu'): 'would be deleted',
    }


def test_a_store_that_is_not_there_is_told_with_its_line(sync):
    with pytest.raises(wanted.WrongFile, match=r':3: Glance has no store n'):
        sync('- {images: {owner: demo}, stores: [north]}\n')


@pytest.mark.parametrize('content', [None, b'\xff'])
def test_a_file_that_cannot_be_read_is_told(run, tmp_path, content):
    path = tmp_path / 'wishes.yaml'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(errors.WrongUse, match=r'wishes.yaml: '):
        run(SyncReplicas, str(path))


def test_the_example_is_a_good_file():
    root = pathlib.Path(__file__).parents[3]
    content = (root / 'etc' / 'systemd' / 'replicas.yaml').read_text()
    public_and_tenants = [
        image(
            tags=frozenset({'golden'}),
            properties={'os_distro': 'debian'},
            visibility=visibility,
        )
        for visibility in ('public', 'community', 'shared', 'private')
    ]
    for rule in wanted.parse(content, 'replicas.yaml'):
        assert [rule.applies_to(found) for found in public_and_tenants] == [
            *(True, False, False, False)
        ]


def test_so_is_the_one_of_its_help():
    example = '\n'.join(
        line
        for line in inspect.getdoc(SyncReplicas).splitlines()
        if line.startswith('    ')
    )
    assert len(wanted.parse(example, 'help')) == 3


def test_communities_images_are_brought_too(sync, proxy):
    image_id = proxy.add(
        'theirs', 'east', owner='other', visibility='community'
    )
    _, changes = sync(
        f'- {{images: {{ids: [{image_id}]}}, stores: [west]}}\n', '--wait'
    )
    assert changes == {('+', 'west', 'theirs'): 'copied'}
