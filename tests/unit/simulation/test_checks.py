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


"""Each check of a run finds a history in which what it is for is broken."""

import dataclasses
import itertools

import pytest

from tests.simulation import checks
from tests.simulation import history as histories
from tests.simulation import stories

Kind = stories.Kind

STORY = stories.Story(
    seed=0,
    apis=('api-1', 'api-2'),
    sites=('west',),
    hosts=(stories.Host('west-1', 'west'),),
    images=(stories.Image('image', ('file',), shared=True),),
    boots=(),
    faults=(),
    limits=stories.LIMITS[0],
)


@dataclasses.dataclass
class Told:
    """A history as it is told to a check; ``call`` has it judged."""

    history: histories.History

    def boot(self, outcome=histories.DISK, **fields):
        fields = {
            'name': 'vm',
            'host': 'west-1',
            'site': 'west',
            'image': 'image',
            'project': 'demo',
            'began': 1000.0,
            'ended': 1010.0,
            'outcome': outcome,
            'parent': ('fsid-west', 'image', 'snap'),
            **fields,
        }
        self.history.boots.append(histories.Boot(**fields))

    def copy(self, *said, api='api-1', began=1001.0, store='west'):
        self.history.copies.append(
            histories.Copy(
                'task', 'image', store, api, 'demo', began, list(said)
            )
        )

    def spell(self, kind, target, began=1000.0, ended=1010.0, detail=''):
        self.history.spells.append(
            histories.Spell(kind, target, began, ended, detail)
        )

    def change(self, what, at=0.0, store='west'):
        self.history.changes.append(histories.Change(at, 'image', store, what))

    def request(
        self, at, status, api='api-1', host='west-1', question='GET /image/'
    ):
        self.history.requests.append(
            histories.Request(at, at, host, api, question, status)
        )

    def lacks(self, *stores):
        """Each glance-api lacks one store."""
        self.change('listed', store='file')
        for api, store in zip(STORY.apis, stores, strict=True):
            self.spell(Kind.FEWER_STORES, api, detail=store)

    @property
    def broken(self):
        return {what.partition(':')[0] for what in checks.broken(self.history)}


@pytest.fixture
def told():
    return Told(histories.History(STORY))


def test_a_history_in_which_all_is_well(told):
    told.boot()
    told.copy((1002.0, 'processing', ''), (1009.0, 'success', ''))
    told.change('begun', 1003.0)
    told.change('complete', 1009.0)
    told.change('listed', 1009.0)
    assert told.broken == set()


def test_a_boot_that_never_ends_is_found(told):
    told.boot(ended=None)
    assert 'every_boot_ends' in told.broken


def test_a_boot_that_takes_too_long_is_found(told):
    told.boot(ended=1700.0)
    assert 'every_boot_ends' in told.broken


def test_a_boot_may_take_longer_where_a_glance_api_hangs(told):
    told.boot(ended=1700.0)
    told.spell(Kind.FROZEN, 'api-1')
    assert 'every_boot_ends' not in told.broken


@pytest.mark.parametrize('target', ['east-1', 'east'])
@pytest.mark.parametrize('kind', [Kind.HOST_FROZEN, Kind.SLUGGISH])
def test_a_boot_may_not_where_another_host_or_site_does(told, target, kind):
    told.boot(ended=1700.0)
    told.spell(kind, target, ended=1600.0)
    assert 'every_boot_ends' in told.broken


@pytest.mark.parametrize('error', ['KeyError', 'StoreNotLocal'])
def test_an_error_that_nothing_explains_is_found(told, error):
    told.boot(error)
    assert told.broken == {'nothing_else_is_raised'}


@pytest.mark.parametrize(
    'parent',
    [
        None,
        ('fsid-east', 'image', 'snap'),
        ('fsid-west', 'other', 'snap'),
        ('fsid-west', 'image', 'mine'),
    ],
)
def test_a_disk_of_something_else_is_found(told, parent):
    told.boot(parent=parent)
    assert told.broken == {'a_disk_is_of_its_image'}


@pytest.mark.parametrize(
    ('kind', 'target', 'project'),
    [
        (Kind.DEACTIVATED, 'image', 'demo'),
        (Kind.WITHDRAWN, 'image', 'other'),
        (Kind.EXPIRED, 'demo', 'demo'),
    ],
)
def test_a_disk_without_the_right_is_found(told, kind, target, project):
    told.boot(project=project, ended=1100.0)
    told.spell(kind, target, ended=1200.0)
    assert 'nobody_boots_without_the_right' in told.broken


@pytest.mark.parametrize(
    ('asked', 'ended', 'status', 'found'),
    [
        (1001.0, 1099.0, 200, False),
        (1006.0, 1099.0, 200, True),
        (1001.0, 1050.0, 200, True),
        (1001.0, 1099.0, 401, True),
    ],
)
def test_a_glance_api_that_hangs_has_looked_at_the_token_before(
    told, asked, ended, status, found
):
    told.boot(ended=1100.0)
    told.spell(Kind.EXPIRED, 'demo', began=1005.0, ended=1200.0)
    told.history.requests.append(
        histories.Request(
            *(asked, ended, 'west-1', 'api-1'),
            'GET /v2/images/image/locations',
            status,
        )
    )
    assert ('nobody_boots_without_the_right' in told.broken) is found


def test_the_owner_needs_no_share(told):
    told.boot(ended=1100.0)
    told.spell(Kind.WITHDRAWN, 'image', ended=1200.0)
    assert told.broken == set()


@pytest.mark.parametrize('error', sorted(checks.CAUSES))
def test_an_error_without_its_cause_is_found(told, error):
    told.boot(error)
    assert told.broken == {'an_error_is_true'}


TRUE = {
    'ImageGone': lambda told: told.change('deleted'),
    'NotActive': lambda told: told.spell(Kind.DEACTIVATED, 'image'),
    'TokenRefused': lambda told: told.spell(Kind.EXPIRED, 'demo'),
    'CopyOverQuota': lambda told: told.spell(Kind.OVER_QUOTA, 'demo'),
    'NotInCluster': lambda told: told.change('gone'),
    'StoreUnavailable': lambda told: [
        told.spell(Kind.FEWER_STORES, 'api-1'),
        told.spell(Kind.CUT, 'api-2'),
    ],
    'RequestFailed': lambda told: [
        told.spell(Kind.DEADLOCKED, api) for api in STORY.apis
    ],
    'StoreUnknown': lambda told: told.lacks('west', 'west'),
    'SourceOutOfReach': lambda told: told.lacks('west', 'file'),
    'ClusterUnreachable': lambda told: told.spell(Kind.AWAY, 'west'),
    'PoolUnreadable': lambda told: told.spell(Kind.HIDDEN, 'west'),
}


@pytest.mark.parametrize('error', sorted(TRUE))
def test_an_error_with_its_cause_is_true(told, error):
    told.boot(error)
    TRUE[error](told)
    assert told.broken == set()


NOT_QUITE = {
    'NotInCluster': lambda told: told.change('gone', store='east'),
    'StoreUnknown': lambda told: told.lacks('west', 'file'),
    'SourceOutOfReach': lambda told: told.lacks('east', 'file'),
    'CopyRefused': lambda told: [
        told.request(1005.0, 409, host='west-2'),
        told.request(1005.0, 409, question='POST /other/import'),
    ],
    'ImageHeld': lambda told: [
        told.copy((1100.0, 'failure', ''), store='east'),
        told.spell(Kind.HELD, 'image'),
    ],
}


@pytest.mark.parametrize('error', sorted(NOT_QUITE))
def test_an_error_with_something_like_its_cause_is_found(told, error):
    told.boot(error, ended=1600.0)
    NOT_QUITE[error](told)
    assert told.broken == {'an_error_is_true'}


@pytest.mark.parametrize(
    ('error', 'cause'),
    [
        ('CopyRefused', lambda told: told.request(1005.0, 409)),
        ('ImageHeld', lambda told: told.copy(store='east')),
        (
            'ImageHeld',
            lambda told: told.spell(Kind.HELD, 'image', ended=1700.0),
        ),
        ('CopyTimedOut', lambda told: told.copy()),
    ],
)
def test_an_error_of_who_has_waited_is_true_with_its_cause(told, error, cause):
    told.boot(error, ended=1600.0)
    cause(told)
    assert told.broken == set()


def test_a_time_out_beside_an_image_that_is_here_is_found(told):
    told.boot('CopyTimedOut', ended=1600.0)
    told.change('listed', 1100.0)
    assert told.broken == {
        'an_error_is_true',
        'an_image_that_has_come_is_noticed',
    }


@pytest.mark.parametrize(('ended', 'found'), [(1030.0, 2), (1550.0, 0)])
def test_a_fault_excuses_for_as_long_as_it_is_felt(told, ended, found):
    told.boot('CopyTimedOut', ended=1600.0)
    told.change('listed', 1100.0)
    told.spell(Kind.DOWN, 'api-1', 1020.0, ended)
    assert len(told.broken) == found


def test_a_failed_copy_is_no_reason_while_another_glance_api_is_left(told):
    told.boot('CopyFailed')
    told.copy((1002.0, 'failure', 'full'), api='api-1')
    assert told.broken == {'an_error_is_true'}
    told.copy((1004.0, 'failure', 'full'), api='api-2')
    assert told.broken == set()


@pytest.mark.parametrize(('last', 'found'), [('begun', 0), ('gone', 1)])
def test_what_lies_in_the_way_is_a_reason_for_as_long_as_it_does(
    told, last, found
):
    told.boot('CopyFailed')
    told.copy((1002.0, 'failure', 'full'))
    told.change('begun', 1001.0)
    told.change(last, 1002.0)
    assert told.broken == ({'an_error_is_true'} if found else set())


def test_a_task_that_lost_its_lock_has_not_failed(told):
    told.boot('CopyFailed')
    for api in STORY.apis:
        told.copy((1002.0, 'failure', 'Task was aborted externally'), api=api)
    assert told.broken == {'an_error_is_true'}


def test_a_stall_is_true_of_a_copy_that_shows_nothing(told):
    told.boot('CopyStalled', ended=1310.0)
    told.copy((1002.0, 'processing', ''))
    assert told.broken == set()


def test_a_stall_is_not_true_of_one_that_is_queued(told):
    told.boot('CopyStalled', ended=1310.0)
    told.copy()
    assert told.broken == {'an_error_is_true'}


@pytest.mark.parametrize(
    'sign',
    [
        lambda told: told.change('more', 1200.0),
        lambda told: told.history.copies[0].said.append(
            (1200.0, 'processing', 'Copied 1 MiB')
        ),
    ],
)
def test_a_stall_is_not_true_of_one_that_has_moved(told, sign):
    told.boot('CopyStalled', ended=1310.0)
    told.copy((1002.0, 'processing', ''))
    sign(told)
    assert told.broken == {'an_error_is_true'}


@pytest.mark.parametrize(
    ('error', 'unfit'),
    [
        *itertools.product(
            ['LocationsForbidden', 'CopyForbidden'],
            [Kind.TOKENLESS, Kind.FROZEN],
        ),
        ('CopyForbidden', Kind.FEWER_STORES),
        ('CopyForbidden', Kind.DEADLOCKED),
    ],
)
def test_what_one_glance_api_forbids_no_other_may_grant(told, error, unfit):
    told.boot(error, ended=1015.0)
    told.spell(Kind.TOKENLESS, 'api-1')
    assert told.broken == {'an_error_is_true'}
    told.spell(unfit, 'api-2', ended=1009.0)
    assert told.broken == {'an_error_is_true'}
    told.spell(unfit, 'api-2', began=1009.0, ended=1012.0)
    assert told.broken == set()


def test_no_answer_is_no_reason_while_one_glance_api_is_well(told):
    told.boot('GlanceUnavailable')
    told.spell(Kind.DOWN, 'api-1')
    assert told.broken == {'an_error_is_true'}
    told.spell(Kind.DOWN, 'api-2')
    assert told.broken == set()


@pytest.mark.parametrize('kind', [Kind.FEWER_STORES, Kind.CUT])
def test_nor_is_it_where_one_lacks_the_store_but_the_other_is_well(told, kind):
    told.boot('StoreUnavailable')
    told.spell(kind, 'api-1')
    assert told.broken == {'an_error_is_true'}


def test_a_fault_of_a_moment_is_no_reason_to_give_requests_up(told):
    told.boot('RequestFailed')
    for api in STORY.apis:
        told.spell(Kind.DEADLOCKED, api, began=1008.0)
    assert told.broken == {'an_error_is_true'}


@pytest.mark.parametrize('answer', [500, 200])
def test_requests_have_failed_when_the_last_of_them_did(told, answer):
    told.boot('RequestFailed', ended=1300.0)
    told.request(1009.0, answer)
    for api in STORY.apis:
        told.spell(Kind.DEADLOCKED, api)
    found = {'an_error_is_true'} if answer == 200 else set()
    assert told.broken == found


@pytest.mark.parametrize(('gone_at', 'found'), [(1004.0, 0), (1002.0, 1)])
def test_a_copy_that_is_gone_again_has_failed(told, gone_at, found):
    told.boot('CopyFailed')
    told.copy((1003.0, 'success', ''))
    told.change('gone', gone_at)
    assert told.broken == ({'an_error_is_true'} if found else set())


def test_bad_health_is_no_reason_for_no_answer(told):
    told.boot('GlanceUnavailable')
    for api in STORY.apis:
        told.spell(Kind.SICK, api)
    assert told.broken == {'an_error_is_true'}


@pytest.mark.parametrize(
    ('outcome', 'ended'), [('GlanceUnavailable', 1002.0), ('disk', 1060.0)]
)
def test_a_local_image_that_does_not_boot_at_once_is_found(
    told, outcome, ended
):
    told.change('listed')
    told.boot(outcome, ended=ended)
    told.spell(Kind.FROZEN, 'api-1', 0.0, 2000.0)
    assert 'a_local_image_boots_promptly' in told.broken


def test_an_image_that_came_long_ago_is_found(told):
    told.boot(ended=1200.0)
    told.change('listed', 1010.0)
    assert told.broken == {'an_image_that_has_come_is_noticed'}


def test_a_second_copy_is_found(told):
    for began in (1001.0, 1101.0):
        told.copy((began + 1, 'success', ''), began=began)
    assert 'a_copy_is_made_once' in told.broken


def test_a_second_copy_after_the_first_was_removed_is_none(told):
    for began in (1001.0, 1101.0):
        told.copy((began + 1, 'success', ''), began=began)
    told.change('gone', 1050.0)
    assert told.broken == set()


def test_a_question_within_a_pause_is_found(told):
    told.spell(Kind.BUSY, 'api-1')
    told.request(1001.0, 503)
    told.request(1002.0, 200)
    assert told.broken == {'a_pause_is_kept'}


@pytest.mark.parametrize(('at', 'api'), [(1004.1, 'api-1'), (1002.0, 'api-2')])
def test_a_question_after_a_pause_or_to_another_is_none_within(told, at, api):
    told.spell(Kind.BUSY, 'api-1')
    told.request(1001.0, 503)
    told.request(at, 200, api)
    assert told.broken == set()


def test_one_that_says_503_while_another_wants_a_pause_wants_none(told):
    told.spell(Kind.BUSY, 'api-2')
    told.request(1001.0, 503)
    told.request(1002.0, 200)
    assert told.broken == set()


def test_what_is_left_is_found(told):
    told.history.left.append('a lease in west')
    assert told.broken == {'nothing_is_left'}


def test_a_lease_whose_host_was_killed_is_not_left(told):
    told.history.left.append('a lease in west')
    told.spell(Kind.HOST_KILLED, 'west-1')
    assert told.broken == set()


def test_a_lease_that_ran_out_while_its_host_stood_still_is_left(told):
    told.history.left.append('a lease in west')
    told.spell(Kind.HOST_FROZEN, 'west-1')
    assert told.broken == {'nothing_is_left'}


def test_a_lease_is_left_whatever_became_of_another_site(told):
    told.history.left.append('a lease in west')
    told.spell(Kind.AWAY, 'east')
    assert told.broken == {'nothing_is_left'}


def test_an_image_that_boots_nowhere_any_more_is_found(told):
    told.boot('NotActive', last=True)
    told.spell(Kind.DEACTIVATED, 'image')
    assert told.broken == {'all_boots_when_faults_have_ended'}
