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

"""What is remembered of Glance's endpoints, and who asks which."""

from concurrent import futures

from hypothesis import settings
from hypothesis import stateful
from hypothesis import strategies as st
import pytest

from nova_rbd_multistore import endpoints
from tests.fakes import clock as clocks

REST = 30
A, B, C = URLS = ['http://a', 'http://b', 'http://c']


def as_given(_urls):
    """In place of a shuffle."""


def take(known, urls, since=float('inf')):
    return known.take(urls, futures.Future(), since)


@pytest.fixture
def clock():
    return clocks.Clock()


@pytest.fixture
def known(clock):
    """In the order given, where the order is random."""
    return endpoints.Endpoints(
        REST, clock.monotonic, shuffle=as_given, uniform=lambda low, _: low
    )


# In which order


def test_the_order_is_random(clock):
    known = endpoints.Endpoints(
        REST, clock.monotonic, shuffle=lambda urls: urls.reverse()
    )
    assert known.order(URLS) == [C, B, A]


def test_by_default_every_endpoint_comes_first_now_and_then():
    known = endpoints.Endpoints(REST)
    assert {known.order(URLS)[0] for _ in range(200)} == set(URLS)


def test_an_endpoint_named_twice_is_asked_once(known):
    assert known.order([A, B, A]) == [A, B]


def test_an_endpoint_that_failed_comes_last(known):
    known.failed(A)
    assert known.order(URLS) == [B, C, A]


def test_of_endpoints_that_failed_the_longest_rested_comes_first(known, clock):
    known.failed(C)
    clock.advance(1)
    known.failed(A)
    assert known.order(URLS) == [B, C, A]


def test_an_endpoint_that_failed_comes_last_until_it_answers(known, clock):
    known.failed(A)
    clock.advance(100 * REST)
    assert known.order(URLS) == [B, C, A]
    known.answered(A)
    assert known.order(URLS) == [A, B, C]


def test_good_health_does_not_undo_a_failure(known):
    known.failed(A)
    known.note_healthy(A)
    assert known.order(URLS) == [B, C, A]


def test_a_sick_one_comes_after_those_of_which_nothing_is_known(known):
    known.note_sick(A)
    assert known.order(URLS) == [B, C, A]


def test_a_sick_one_comes_before_one_that_failed(known):
    known.failed(A)
    known.note_sick(B)
    assert known.order(URLS) == [C, B, A]


def test_a_sick_one_stays_so_though_it_answers(known):
    known.note_sick(A)
    known.answered(A)
    assert known.rank(A) is endpoints.Rank.SICK


@pytest.mark.parametrize('good', ['answered', 'note_healthy'])
def test_a_good_one_comes_before_those_of_which_nothing_is_known(known, good):
    getattr(known, good)(C)
    assert known.order(URLS) == [C, A, B]


def test_when_all_failed_all_are_still_asked(known):
    for url in URLS:
        known.failed(url)
    assert sorted(known.order(URLS)) == URLS


def test_for_a_copy_the_one_that_answered_last_comes_first(known, clock):
    for url in (B, A, C):
        known.answered(url)
        clock.advance(1)
    known.failed(C)
    assert known.latest_first(URLS) == [A, B, C]


# Health


def test_good_health_is_believed_for_a_while(known, clock):
    known.note_healthy(A)
    clock.advance(REST - 1)
    assert known.is_healthy(A)
    clock.advance(1)
    assert not known.is_healthy(A)


def test_nothing_is_known_of_a_new_endpoint(known):
    assert known.rank(A) is endpoints.Rank.UNKNOWN
    assert not known.is_healthy(A)
    assert known.stores(A) == frozenset()
    assert not known.answered_within(A, 1e6)


# Who asks


def test_where_there_is_one_all_ask_it(known):
    assert [take(known, [A]) for _ in range(3)] == [A, A, A]


def test_each_of_several_is_asked_by_one_and_the_others_wait(known):
    assert [take(known, URLS) for _ in range(5)] == [A, B, C, None, None]
    assert len(known.awaited(URLS)) == 3


def test_when_one_has_answered_all_others_ask_that_one(known):
    for _ in URLS:
        take(known, URLS)
    (_, waited, _) = known.awaited(URLS)
    known.answered(B)
    assert waited.done()
    assert [take(known, known.sort(URLS)) for _ in range(3)] == [B, B, B]


def test_an_answer_is_fresh_for_a_moment(known, clock):
    for url in URLS:
        known.answered(url)
    clock.advance(endpoints.FRESH + 0.01)
    assert [take(known, URLS) for _ in range(4)] == [A, B, C, None]


def test_whoever_was_slow_to_hear_of_an_answer_may_ask_too(known, clock):
    began = clock.now
    known.take([A, B], futures.Future(), began)
    known.take([B], futures.Future(), began)
    known.answered(B)
    clock.advance(100 * endpoints.FRESH)
    order = known.latest_first([A, B])
    assert [take(known, order, began) for _ in range(2)] == [B, B]


def test_for_one_that_failed_nobody_leaves_a_good_one(known, clock):
    known.failed(A)
    known.answered(B)
    known.answered(C)
    clock.advance(1)
    order = known.sort(URLS)
    assert [take(known, order) for _ in range(4)] == [B, C, None, None]


def test_for_one_that_owes_an_answer_nobody_leaves_the_others(known):
    known.note_sick(A)
    known.owes(A)
    order = known.sort(URLS)
    assert [take(known, order) for _ in range(3)] == [B, C, None]
    known.end_trial(A)
    assert take(known, order) == A


def test_where_one_is_left_that_did_not_fail_nobody_waits(known):
    known.failed(A)
    assert [take(known, [B, A]) for _ in range(3)] == [B, B, B]


def test_one_that_somebody_finds_out_about_is_awaited_if_the_others_failed(
    known,
):
    assert [take(known, URLS) for _ in range(2)] == [A, B]
    known.failed(A)
    known.failed(C)
    assert take(known, known.sort(URLS)) is None
    known.answered(B)
    assert take(known, known.sort(URLS)) == B


@pytest.mark.parametrize('bad', ['failed', 'note_sick'])
def test_where_all_owe_an_answer_nobody_waits(known, bad):
    for url in URLS:
        getattr(known, bad)(url)
        known.owes(url)
    assert [take(known, URLS) for _ in range(3)] == [A, A, A]


@pytest.mark.parametrize('ends', ['failed', 'note_sick', 'answered'])
def test_whoever_waits_hears_of_any_end(known, ends):
    take(known, [A, B])
    (waited,) = known.awaited([A])
    getattr(known, ends)(A)
    assert waited.done()
    assert known.awaited([A]) == []


def test_whoever_waits_hears_of_a_release(known):
    claim = futures.Future()
    known.take([A, B], claim, 0.0)
    known.release(A, claim)
    assert claim.done()
    assert take(known, [A, B]) == A


def test_nobody_releases_what_is_another_s(known):
    mine, theirs = futures.Future(), futures.Future()
    known.take([A, B], mine, 0.0)
    known.failed(A)
    known.failed(B)
    known.take([A, B], theirs, 0.0)
    known.release(A, mine)
    assert known.awaited([A]) == [theirs]


def test_of_no_endpoints_none_is_taken(known):
    assert take(known, []) is None


# Trials


def test_one_of_which_nothing_is_known_is_tried_once_at_a_time(known):
    assert known.begin_trial(A)
    assert not known.begin_trial(A)
    known.end_trial(A)
    assert known.begin_trial(A)


def test_one_whose_health_is_asked_for_is_not_tried(known):
    check = futures.Future()
    assert known.join_check(A, check) is check
    assert known.join_check(A, futures.Future()) is check
    assert not known.begin_trial(A)
    known.end_check(A)
    assert known.begin_trial(A)


@pytest.mark.parametrize('bad', ['failed', 'note_sick'])
def test_a_bad_one_is_tried_when_it_has_rested(known, clock, bad):
    getattr(known, bad)(A)
    clock.advance(REST - 1)
    assert not known.begin_trial(A)
    clock.advance(1)
    assert known.begin_trial(A)


def test_a_good_one_is_not_tried(known, clock):
    known.answered(A)
    clock.advance(100 * REST)
    assert not known.begin_trial(A)


def test_one_whose_answer_is_still_due_is_not_tried(known, clock):
    known.failed(A)
    known.owes(A)
    clock.advance(100 * REST)
    assert not known.begin_trial(A)
    known.end_trial(A)
    assert known.begin_trial(A)


# What it asks for


def test_one_that_wants_a_pause_has_it(known, clock):
    known.told_to_wait(A, 5)
    assert known.wait(A) == 5
    assert known.wait(B) == 0
    clock.advance(5)
    assert known.wait(A) == 0


def test_pauses_of_hosts_that_were_told_the_same_differ(clock):
    known = endpoints.Endpoints(REST, clock.monotonic)
    waits = set()
    for _ in range(20):
        known.told_to_wait(A, 4)
        waits.add(known.wait(A))
    assert len(waits) > 10
    assert all(4 <= wait <= 6 for wait in waits)


def test_after_its_pause_it_is_asked_one_question_at_a_time(known, clock):
    known.told_to_wait(A, 5)
    clock.advance(5)
    for _ in range(2):
        assert [take(known, [A]) for _ in range(3)] == [A, None, None]
        known.answered(A)
    clock.advance(REST)
    assert [take(known, [A]) for _ in range(2)] == [A, A]


def test_one_that_wants_a_pause_is_not_tried(known, clock):
    known.told_to_wait(A, 5)
    assert not known.begin_trial(A)
    clock.advance(5)
    assert known.begin_trial(A)


# Stores


def test_the_stores_of_an_endpoint_are_remembered(known):
    known.learn_stores(A, frozenset({'east', 'west'}))
    assert known.stores(A) == {'east', 'west'}
    assert known.stores(B) == frozenset()


def test_what_is_learned_later_counts(known):
    known.learn_stores(A, frozenset({'east', 'west'}))
    known.learn_stores(A, frozenset({'east'}))
    assert known.stores(A) == {'east'}


# Whatever happens, in whatever order

some_url = st.sampled_from(URLS)


class AnyStory(stateful.RuleBasedStateMachine):
    """Boots take endpoints, wait for each other, and hear of all ends."""

    def __init__(self):
        super().__init__()
        self.clock = clocks.Clock()
        self.known = endpoints.Endpoints(
            REST, self.clock.monotonic, as_given, lambda low, _: low
        )
        self.taken = []
        self.waiting = []

    @stateful.rule()
    def boot(self):
        order = self.known.order(URLS)
        ranks = [self.known.rank(url) for url in order]
        assert ranks == sorted(ranks)
        claim = futures.Future()
        url = self.known.take(order, claim, self.clock.now)
        if url is None:
            awaited = self.known.awaited(order)
            assert awaited
            self.waiting += awaited
            return
        if any(rank is not endpoints.Rank.FAILED for rank in ranks):
            assert self.known.rank(url) is not endpoints.Rank.FAILED
        self.taken.append((url, claim))

    @stateful.precondition(lambda self: self.taken)
    @stateful.rule(
        how=st.sampled_from(['answered', 'failed', 'note_sick', 'release']),
        data=st.data(),
    )
    def end(self, how, data):
        url, claim = self.taken.pop(
            data.draw(st.integers(0, 99)) % len(self.taken)
        )
        if how == 'release':
            self.known.release(url, claim)
        else:
            getattr(self.known, how)(url)

    @stateful.rule(url=some_url, seconds=st.floats(0.1, 60))
    def want_a_pause(self, url, seconds):
        self.known.told_to_wait(url, seconds)
        assert self.known.wait(url) > 0

    @stateful.rule(url=some_url, how=st.sampled_from(['healthy', 'sick']))
    def check(self, url, how):
        getattr(self.known, f'note_{how}')(url)

    @stateful.rule(seconds=st.floats(0, 2 * REST))
    def let_time_pass(self, seconds):
        self.clock.advance(seconds)

    @stateful.rule(url=some_url)
    def trial(self, url):
        if self.known.begin_trial(url):
            assert self.known.rank(url) is not endpoints.Rank.GOOD
            assert not self.known.begin_trial(url)
            self.known.end_trial(url)

    def teardown(self):
        for url, claim in self.taken:
            self.known.release(url, claim)
        # Nobody waits for ever.
        assert all(one.done() for one in self.waiting)
        assert self.known.awaited(URLS) == []


AnyStory.TestCase.settings = settings(deadline=None, max_examples=60)
TestAnyStory = AnyStory.TestCase
