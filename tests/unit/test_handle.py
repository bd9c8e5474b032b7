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

"""One handle for all threads, replaced when it is of no use."""

from concurrent import futures
import gc
import weakref

import pytest

from nova_rbd_multistore import handle

GOOD, REFUSED, LOST = handle.Verdict


class Library:
    """Opens handles, which are numbers, and closes each of them once.

    :ivar while_opening: called in the middle of opening one
    """

    def __init__(self):
        self.now = 1000.0
        self.opened = []
        self.closed = []
        self.fault = None
        self.while_opening = lambda: None

    def open_one(self):
        if self.fault is not None:
            raise self.fault
        made = object()
        self.opened.append(made)
        self.while_opening()
        return made

    def close(self, one):
        assert one in self.opened
        assert one not in self.closed
        self.closed.append(one)

    @property
    def open(self):
        return [one for one in self.opened if one not in self.closed]

    def shared(self):
        return handle.SharedHandle(self.open_one, self.close, lambda: self.now)


@pytest.fixture
def library():
    return Library()


@pytest.fixture
def shared(library):
    return library.shared()


def use(shared, verdict=GOOD):
    """Take the handle, give it back, and tell which it was."""
    loan = shared.take()
    shared.give_back(loan, verdict)
    return loan.handle


def test_nothing_is_opened_before_it_is_needed(library, shared):
    del shared
    assert library.opened == []


def test_all_get_the_same(library, shared):
    first, second = shared.take(), shared.take()
    assert first.handle is second.handle
    assert use(shared) is first.handle
    assert len(library.opened) == 1


def test_what_works_stays_open(library, shared):
    use(shared)
    assert library.closed == []


def test_a_lost_one_is_closed_and_the_next_to_come_gets_a_new_one(
    library, shared
):
    lost = use(shared, LOST)
    assert library.closed == [lost]
    assert use(shared) is not lost
    assert len(library.open) == 1


def test_a_lost_one_is_closed_when_its_last_user_is_done(library, shared):
    one, other = shared.take(), shared.take()
    shared.give_back(one, LOST)
    new = shared.take()
    assert library.closed == []
    assert new.handle is not other.handle
    shared.give_back(other, GOOD)
    assert library.closed == [other.handle]


def test_a_late_error_of_an_old_one_is_not_taken_for_the_new_one_s(
    library, shared
):
    early, late = shared.take(), shared.take()
    shared.give_back(early, LOST)
    new = use(shared)
    shared.give_back(late, LOST)
    assert use(shared) is new
    assert library.open == [new]


def test_a_late_refusal_of_an_old_one_is_not_taken_for_the_new_one_s(
    library, shared
):
    early, late = shared.take(), shared.take()
    shared.give_back(early, LOST)
    new = use(shared)
    shared.give_back(late, REFUSED)
    library.now += handle.REFUSALS_BELIEVED
    assert use(shared) is new


def test_after_a_refusal_the_next_to_come_gets_a_new_one(library, shared):
    refused = use(shared)
    library.now += handle.REFUSALS_BELIEVED
    use(shared, REFUSED)
    assert use(shared) is not refused
    assert library.closed == [refused]


def test_refusals_for_good_do_not_cost_a_new_one_each(library, shared):
    seconds = 600
    for _ in range(10 * seconds):
        use(shared, REFUSED)
        library.now += 0.1
    assert len(library.opened) <= seconds / handle.REFUSALS_BELIEVED + 1
    assert len(library.open) == 1


def test_a_refused_one_in_use_is_closed_when_that_is_done(library, shared):
    long = shared.take()
    use(shared, REFUSED)
    library.now += handle.REFUSALS_BELIEVED
    use(shared)
    assert library.closed == []
    shared.give_back(long, GOOD)
    assert library.closed == [long.handle]


def test_what_cannot_be_opened_now_is_opened_later(library, shared):
    library.fault = OSError('not now')
    for _ in range(2):
        with pytest.raises(OSError, match='not now'):
            shared.take()
    library.fault = None
    assert [use(shared)] == library.opened


def test_what_cannot_be_replaced_now_is_replaced_later(library, shared):
    lost = use(shared, LOST)
    library.fault = OSError('not now')
    with pytest.raises(OSError, match='not now'):
        shared.take()
    library.fault = None
    assert use(shared) is not lost


def test_two_that_open_one_at_once_leave_one(library, shared):
    others = []

    def open_another():
        library.while_opening = lambda: None
        others.append(use(shared))

    library.while_opening = open_another
    mine = use(shared)
    assert others == [mine]
    assert len(library.opened) == 2
    assert library.open == [mine]


def test_one_that_is_lost_while_another_replaces_it_is_replaced_too(
    library, shared
):
    def lose_another():
        library.while_opening = lambda: None
        use(shared, LOST)

    library.while_opening = lose_another
    mine = use(shared)
    assert library.open == [mine]
    assert use(shared) is mine


def test_one_of_its_own_is_nobody_else_s(library, shared):
    own = shared.take_own(library.open_one)
    assert use(shared) is not own.handle
    shared.give_back(own, GOOD)
    assert library.closed == [own.handle]


def test_what_happens_to_one_of_its_own_is_of_no_matter(library, shared):
    common = use(shared)
    shared.give_back(shared.take_own(library.open_one), LOST)
    assert use(shared) is common


def test_whatever_many_threads_do_one_is_left(library, shared):
    verdicts = list(handle.Verdict)

    def work(number):
        for turn in range(200):
            loan = shared.take()
            assert loan.handle not in library.closed
            library.now += handle.REFUSALS_BELIEVED
            shared.give_back(loan, verdicts[(number + turn) % 3])

    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    use(shared)
    assert len(library.open) == 1


def test_what_is_closed_is_not_remembered():
    class Handle:
        pass

    seen = []

    def open_one():
        made = Handle()
        seen.append(weakref.ref(made))
        return made

    shared = handle.SharedHandle(open_one, lambda _one: None, lambda: 0.0)
    for _ in range(5):
        use(shared, LOST)
    use(shared)
    gc.collect()
    assert [one() is None for one in seen] == [True] * 5 + [False]


def test_at_the_end_all_are_closed_and_none_is_lent_any_more(library, shared):
    lasting = shared.take()
    own = shared.take_own(library.open_one)
    lost = lasting
    shared.give_back(shared.take(), LOST)
    shared.take()

    shared.end()

    assert library.open == []
    for take in (shared.take, lambda: shared.take_own(library.open_one)):
        with pytest.raises(handle.Ended):
            take()
    for loan in (lost, own):
        shared.give_back(loan, GOOD)
    assert len(library.closed) == len(library.opened) == 3


def test_one_that_is_opened_while_the_end_comes_is_closed(library, shared):
    library.while_opening = shared.end
    with pytest.raises(handle.Ended):
        shared.take()
    assert library.open == []


def test_there_need_not_be_one_to_end(library, shared):
    shared.end()
    assert library.opened == []


def test_what_is_given_up_is_counted_by_the_reason(library, shared):
    use(shared, LOST)
    use(shared, REFUSED)
    library.now += handle.REFUSALS_BELIEVED
    use(shared)
    assert shared.given_up == {LOST: 1, REFUSED: 1}


def test_what_several_have_lost_at_once_is_counted_once(shared):
    one, other = shared.take(), shared.take()
    shared.give_back(one, LOST)
    shared.give_back(other, LOST)
    assert shared.given_up[LOST] == 1


def test_what_is_closed_at_the_end_is_not_given_up(shared):
    use(shared)
    shared.end()
    assert shared.given_up == {LOST: 0, REFUSED: 0}
