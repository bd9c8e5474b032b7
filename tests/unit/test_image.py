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

"""Glance's answers, true and false ones."""

import contextlib
import datetime

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from nova_rbd_multistore import answers
from nova_rbd_multistore import image
from nova_rbd_multistore import task as task_values
from tests.fakes import clock as clocks
from tests.fakes import cluster as clusters
from tests.fakes import glance_api

DEMO = glance_api.Requester(service=True)

#: No more than Glance sends of every image.
MINIMAL = {'id': 'an-id', 'status': 'active'}

TASK = {
    'id': 'a-task',
    'type': 'api_image_import',
    'status': 'processing',
    'message': 'Copied 128 MiB',
    'request_id': 'req-1',
    'input': {
        'image_id': 'an-id',
        'import_req': {'method': {'name': 'copy-image'}},
        'backend': ['west'],
    },
    'updated_at': '2026-01-01T00:00:00.000000',
}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
fields = st.dictionaries(
    st.sampled_from(
        [
            'id',
            'status',
            'owner',
            'disk_format',
            'container_format',
            'size',
            'stores',
            'os_glance_importing_to_stores',
            'os_glance_failed_import',
            'os_glance_import_task',
            'locations',
            'message',
            'request_id',
            'updated_at',
            'url',
            'tasks',
        ]
    ),
    anything,
)


def record(**properties):
    return image.ImageRecord.from_answer({**MINIMAL, **properties})


# The record


def test_a_record_is_read_from_the_wire():
    api = glance_api.GlanceApi(
        clocks.Clock(),
        {'file': None, 'east': clusters.Cluster('fsid-east'), 'west': None},
    )
    api.show_locations = True
    made = api.add_image('file', 'east', owner='demo')
    api.import_image(
        DEMO,
        made.id,
        {'method': {'name': 'copy-image'}, 'stores': ['west']},
    )
    api.clock.advance(1)

    read = image.ImageRecord.from_answer(
        glance_api.wire(api.show(DEMO, made.id))
    )

    (task,) = api.tasks
    assert read == image.ImageRecord(
        id=made.id,
        status='active',
        owner='demo',
        visibility='public',
        disk_format='raw',
        container_format='bare',
        size=256 * glance_api.MIB,
        stores=frozenset({'file', 'east'}),
        importing=frozenset({'west'}),
        failed=frozenset(),
        lock=task,
        locations=tuple(
            image.ImageLocation(url, store)
            for store, url in made.locations.items()
        ),
    )


@pytest.mark.parametrize('visibility', ['private', 'shared', 'community'])
def test_an_image_of_the_project_is_its_own_whatever_its_visibility(
    visibility,
):
    assert record(owner='a', visibility=visibility).whose('a') == 'own'


def test_an_image_of_another_project_is_what_its_visibility_says():
    assert record(owner='a', visibility='shared').whose('b') == 'shared'


@pytest.mark.parametrize('project', ['a', None])
def test_an_image_of_no_project_is_nobodys_own(project):
    assert record(visibility='shared').whose(project) == 'shared'
    assert record().whose(project) is None


def test_store_names_are_told_apart_exactly():
    found = record(stores='central,dcn10')
    assert found.holds('dcn10')
    assert not found.holds('dcn1')


@pytest.mark.parametrize('stores', ['', None, ',', ' , '])
def test_an_empty_list_of_stores_names_none(stores):
    assert record(stores=stores).stores == frozenset()


def test_spaces_around_store_names_do_not_count():
    assert record(stores=' east , west').stores == {'east', 'west'}


def test_a_store_being_imported_to_does_not_hold_the_image():
    assert not record(
        stores='west',
        os_glance_importing_to_stores='west',
        os_glance_import_task='a-task',
    ).holds('west')


def test_an_importing_list_left_behind_without_a_lock_means_nothing():
    assert record(stores='west', os_glance_importing_to_stores='west').holds(
        'west'
    )


def test_a_copy_to_another_store_does_not_matter():
    assert record(
        stores='east',
        os_glance_importing_to_stores='west',
        os_glance_import_task='a-task',
    ).holds('east')


def test_without_locations_in_the_record_there_are_none_to_go_by():
    assert record().locations is None


def test_an_empty_list_of_locations_says_nothing():
    # With show_multiple_locations, Glance hides them as an empty list.
    assert record(locations=[]).locations is None


def test_a_direct_url_says_nothing():
    assert record(direct_url='rbd://a/b/c/d').locations is None


@pytest.mark.parametrize(
    ('disk_format', 'raw'),
    [('raw', True), ('iso', True), ('qcow2', False), (None, False)],
)
def test_a_raw_image_is_plain_bytes(disk_format, raw):
    assert record(disk_format=disk_format).raw is raw


@pytest.mark.parametrize(
    ('container_format', 'bare'),
    [('bare', True), ('compressed', False), ('ova', False), (None, False)],
)
def test_a_bare_image_is_in_no_container(container_format, bare):
    assert record(container_format=container_format).bare is bare


@pytest.mark.parametrize('status', ['deactivated', 'queued', 'deleted'])
def test_only_an_active_image_is_active(status):
    assert record().active
    assert not record(status=status).active


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('id', None),
        ('id', 5),
        ('id', ''),
        ('status', None),
        ('status', ['active']),
        ('owner', 5),
        ('disk_format', {}),
        ('size', '5'),
        ('size', -1),
        ('size', True),
        ('size', 1.5),
        ('size', 2**63),
        ('id', 'an-id\n'),
        ('id', 'an-id\u2028'),
        ('id', 'x' * 256),
        ('stores', ['west']),
        ('os_glance_importing_to_stores', ['west']),
        ('os_glance_failed_import', {'west': True}),
        ('os_glance_import_task', ['a-task']),
        ('os_glance_import_task', 5),
        ('os_glance_import_task', 'a-task\n2026-01-01 CRITICAL'),
        ('os_glance_import_task', 'a-task\u202e'),
        ('os_glance_import_task', 'x' * 256),
        ('locations', 'rbd://a/b/c/d'),
        ('locations', [{'metadata': {}}]),
        ('locations', ['rbd://a/b/c/d']),
    ],
)
def test_a_field_of_another_type_is_malformed(field, value):
    with pytest.raises(answers.MalformedAnswer):
        record(**{field: value})


@pytest.mark.parametrize('answer', [None, '', [], 'text', 5, [MINIMAL]])
def test_what_is_no_object_is_no_record(answer):
    with pytest.raises(answers.MalformedAnswer):
        image.ImageRecord.from_answer(answer)


@pytest.mark.parametrize(
    'read',
    [
        image.ImageRecord.from_answer,
        task_values.CopyTask.from_answer,
        task_values.copy_tasks,
        image.image_locations,
        image.store_ids,
    ],
)
@settings(max_examples=30, deadline=None)
@given(answer=anything | fields | st.lists(fields))
def test_no_answer_raises_anything_but_malformed(read, answer):
    with contextlib.suppress(answers.MalformedAnswer):
        read(answer)


def test_the_error_shows_a_hostile_value_shortened_and_on_one_line():
    with pytest.raises(answers.MalformedAnswer) as caught:
        record(size='a\nb\x1b' * 1000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 120


# Stores of Glance's own


@pytest.mark.parametrize(
    'store', ['os_glance_staging_store', 'os_glance_tasks_store', 'os_glance_']
)
def test_a_store_of_glances_own_holds_no_image(store):
    found = record(stores=f'east,{store}')
    assert found.stores == {'east'}
    assert found.reserved == {store}
    assert not found.holds(store)


def test_a_name_like_that_of_glances_own_stores_is_a_stores():
    found = record(stores='my_os_glance_store,os_glanc')
    assert found.stores == {'my_os_glance_store', 'os_glanc'}
    assert found.reserved == frozenset()


# Locations, stores


def test_locations_keep_glances_order():
    assert image.image_locations(
        [
            {'url': 'b://', 'metadata': {'store': 'west'}},
            {'url': 'a://', 'metadata': {}},
        ]
    ) == (image.ImageLocation('b://', 'west'), image.ImageLocation('a://'))


@pytest.mark.parametrize('metadata', [None, {}, {'store': 5}, 'west', []])
def test_a_location_need_not_tell_its_store(metadata):
    (found,) = image.image_locations([{'url': 'a://', 'metadata': metadata}])
    assert found.store is None


def test_stores_are_known_by_their_ids():
    assert image.store_ids(
        {'stores': [{'id': 'east', 'default': 'true'}, {'id': 'west'}]}
    ) == {'east', 'west'}


@pytest.mark.parametrize(
    'answer', [None, {}, {'stores': 'east'}, {'stores': ['east']}, []]
)
def test_what_is_no_list_of_stores_is_malformed(answer):
    with pytest.raises(answers.MalformedAnswer):
        image.store_ids(answer)


# Tasks


def test_a_task_is_read_from_the_wire():
    assert task_values.CopyTask.from_answer(TASK) == task_values.CopyTask(
        id='a-task',
        status=task_values.TaskStatus.PROCESSING,
        message='Copied 128 MiB',
        stores=frozenset({'west'}),
        request_id='req-1',
        updated_at=datetime.datetime(2026, 1, 1),
        type='api_image_import',
        method='copy-image',
        queue=('west',),
    )


def task_of(method, **fields):
    return task_values.CopyTask.from_answer(
        {**TASK, 'input': {'import_req': {'method': {'name': method}}}}
        | fields
    )


#: As Glance's ``add_location`` makes it.
HASHING = task_values.CopyTask.from_answer(
    {
        **TASK,
        'type': 'location_import',
        'input': {
            'image_id': 'an-id',
            'loc_url': 'rbd://a/b/c/d',
            'validation_data': {},
        },
    }
)


@pytest.mark.parametrize(
    ('task', 'words'),
    [
        (HASHING, 'the hashing of a new location'),
        (task_of('web-download'), 'an import of method web-download'),
        (task_of('glance-direct'), 'an import of method glance-direct'),
        (task_of('copy-image'), 'an import of method copy-image'),
        (
            task_values.CopyTask.from_answer(TASK),
            'a copy to store west',
        ),
        (
            task_of('', type=None, input=None),
            'an import of method unknown',
        ),
    ],
)
def test_what_a_task_does_is_said_for_people(task, words):
    assert str(task) == words


@pytest.mark.parametrize(
    ('task', 'copies'),
    [
        (HASHING, False),
        (task_of('web-download'), False),
        (task_of('copy-image'), True),
        # Then it is taken for what it nearly always is.
        (task_of('', type=None, input=None), True),
    ],
)
def test_a_task_copies_unless_it_is_told_to_do_something_else(task, copies):
    assert task.copies is copies


@pytest.mark.parametrize(
    ('method', 'status', 'quiet'),
    [
        ('copy-image', 'pending', True),
        ('copy-image', 'processing', False),
        ('copy-image', 'failure', False),
        ('web-download', 'pending', True),
        ('web-download', 'processing', True),
        ('web-download', 'success', False),
        ('web-download', 'failure', False),
    ],
)
def test_silence_says_nothing_of_what_is_queued_or_is_no_copy(
    method, status, quiet
):
    assert task_of(method, status=status).quiet is quiet


@pytest.mark.parametrize(
    'task_input',
    [
        None,
        'copy-image',
        {'import_req': None},
        {'import_req': {'method': 'copy-image'}},
        {'import_req': {'method': {'name': 5}}},
    ],
)
def test_a_task_need_not_tell_its_method(task_input):
    task = task_values.CopyTask.from_answer({**TASK, 'input': task_input})
    assert task.method == ''


def test_a_tasks_type_and_method_are_made_fit_for_the_log():
    task = task_of('a\nb' * 1000, type='c\x1b[2J' * 1000)
    assert task.method.isprintable()
    assert task.type.isprintable()
    assert len(task.method) <= 40
    assert len(task.type) <= 40


def test_a_task_may_have_no_message_and_no_request_id():
    task = task_values.CopyTask.from_answer(
        {**TASK, 'message': None, 'request_id': None}
    )
    assert task.message == ''
    assert task.request_id is None


@pytest.mark.parametrize(
    'task_input', [None, {}, {'backend': None}, {'backend': 'west'}, 'west']
)
def test_a_task_need_not_tell_its_stores(task_input):
    task = task_values.CopyTask.from_answer({**TASK, 'input': task_input})
    assert task.stores == frozenset()


def test_a_tasks_message_is_made_fit_for_the_log():
    task = task_values.CopyTask.from_answer({**TASK, 'message': 'a\nb' * 1000})
    assert task.message.isprintable()
    assert len(task.message) <= 400


@pytest.mark.parametrize('before', [0, 380])
def test_a_tasks_message_has_no_credentials(before):
    # Nor half of one, where it is cut.
    message = 'x' * before + ' at http://glance:secret@swift.example/v1'
    task = task_values.CopyTask.from_answer({**TASK, 'message': message})
    assert 'secret' not in task.message
    assert 'glance:' not in task.message


def test_a_time_with_a_zone_is_read_as_utc():
    task = task_values.CopyTask.from_answer(
        {**TASK, 'updated_at': '2026-01-01T02:00:00+02:00'}
    )
    assert task.updated_at == datetime.datetime(2026, 1, 1)


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('id', None),
        ('status', 'cancelled'),
        ('status', None),
        ('updated_at', 'yesterday'),
        ('updated_at', None),
        ('updated_at', '0001-01-01T00:00:00+23:00'),
        ('updated_at', '9999-12-31T23:00:00'),
        ('id', 'a-task\x1b[2J'),
        ('request_id', 5),
        ('type', 5),
    ],
)
def test_a_task_with_a_field_of_another_type_is_malformed(field, value):
    with pytest.raises(answers.MalformedAnswer):
        task_values.CopyTask.from_answer({**TASK, field: value})


@pytest.mark.parametrize('field', ['id', 'status', 'updated_at'])
def test_a_task_without_a_field_is_malformed(field):
    with pytest.raises(answers.MalformedAnswer, match=field):
        task_values.CopyTask.from_answer(
            {name: value for name, value in TASK.items() if name != field}
        )


@pytest.mark.parametrize(
    ('status', 'finished'),
    [
        ('pending', False),
        ('processing', False),
        ('success', True),
        ('failure', True),
    ],
)
def test_a_task_that_succeeded_or_failed_is_finished(status, finished):
    task = task_values.CopyTask.from_answer({**TASK, 'status': status})
    assert task.finished is finished


@pytest.mark.parametrize(
    ('status', 'hours'), [('processing', 1), ('failure', 1), ('pending', 2)]
)
def test_glance_keeps_a_lock_for_an_hour_and_two_before_it_begins(
    status, hours
):
    task = task_values.CopyTask.from_answer({**TASK, 'status': status})
    assert task.lock_kept_until == datetime.datetime(2026, 1, 1, hours)


@pytest.mark.parametrize('answer', [None, {}, {'tasks': {}}, [TASK]])
def test_what_is_no_list_of_tasks_is_malformed(answer):
    with pytest.raises(answers.MalformedAnswer):
        task_values.copy_tasks(answer)
