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


"""Faults of this driver that were mended once, each made again.

A mutant takes one mend out. What the simulation does not find of them, it
would not find if somebody undid the mend.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import inspect
import sys
import textwrap
from typing import Any
from unittest import mock

from nova_rbd_multistore import copying
from nova_rbd_multistore import endpoints
from nova_rbd_multistore import finding
from nova_rbd_multistore import glance
from nova_rbd_multistore import holder
from nova_rbd_multistore import lead
from nova_rbd_multistore import pace
from nova_rbd_multistore import request
from nova_rbd_multistore import rounds
from nova_rbd_multistore import sharing
from nova_rbd_multistore import wait


class Stale(Exception):
    """A mutant's mend is no longer in the source as it was."""


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A mended fault.

    :ivar fault: what went wrong, in words
    :ivar owner: the class whose method has the mend
    :ivar method: name of the method, or of the property
    :ivar mend: lines of it, once each
    :ivar instead: what stands there in the mutant
    """

    fault: str
    owner: type
    method: str
    mend: str
    instead: str

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """The package with this fault.

        :raises Stale: if the mend is not where it was
        """
        now: Any = inspect.getattr_static(self.owner, self.method)
        if isinstance(now, property):
            now = now.fget
        elif isinstance(now, classmethod):
            now = now.__func__
        source = textwrap.dedent(inspect.getsource(now))
        if source.count(self.mend) != 1:
            raise Stale(f'{self.owner.__name__}.{self.method}: {self.mend}')
        made: dict[str, Any] = {}
        # In the module, for what the method refers to.
        names = vars(sys.modules[self.owner.__module__])
        exec(source.replace(self.mend, self.instead), names, made)  # noqa: S102
        with mock.patch.object(self.owner, self.method, made[self.method]):
            yield


MUTANTS = (
    Mutant(
        'the lock is lost after a 202, and the boot fails with the task',
        request.Request,
        'is_lost',
        'if task.lost_lock:\n        return True',
        'return False',
    ),
    Mutant(
        'a boot that joins a copy late inherits its time-out',
        sharing.Shared,
        'do',
        'if time_left() <= 0:\n            raise late',
        'raise late',
    ),
    Mutant(
        'a right that one user lacks ends the boots of others',
        sharing.Shared,
        'do',
        'if doer == asker:\n                raise\n            continue',
        'raise',
    ),
    Mutant(
        "another user's boot is not asked about again",
        sharing.Shared,
        'do',
        'return result if doer == asker else None',
        'return result',
    ),
    Mutant(
        'a copy that is queued is called stalled',
        holder.Holder,
        'quiet',
        'self.task.quiet',
        'self.task.quiet and not self.task.queued',
    ),
    Mutant(
        'the hashing of a new location is called stalled',
        holder.Holder,
        'quiet',
        'self.task.quiet',
        'self.task.queued',
    ),
    Mutant(
        'a copy of which nothing could be seen is called stalled',
        holder.Holder,
        'quiet',
        'not (self.brings and self.watched)',
        'not self.brings',
    ),
    Mutant(
        'an import that is at another store first is called stalled',
        holder.Holder,
        'of',
        'watched = watched and record.importing <= {store}',
        'pass',
    ),
    Mutant(
        'a copy that goes on as Glance answers is called stalled',
        copying.Copy,
        '_look_last',
        'self._look_into_cluster()',
        'pass',
    ),
    Mutant(
        'a copy whose task has just told of more is called stalled',
        copying.Copy,
        '_look_last',
        'and holder.task != self._holding',
        'and False',
    ),
    Mutant(
        'a glance-api without the store is taken for one that is down',
        rounds.Round,
        '_failure',
        'if self._lacking:',
        'if False:',
    ),
    Mutant(
        "a dead lock of another project's image ends the boot",
        copying.Copy,
        '_request_copy',
        'self._meet(self._forbidden(exc))\n        return',
        'raise',
    ),
    Mutant(
        'one failed endpoint of two ends the boot',
        copying.Copy,
        '_judge_ours',
        'self._pace.settled()\n    self._request_copy()',
        'raise self._failure()',
    ),
    Mutant(
        'NOT_NEEDED is looked at only twice',
        pace.Pace,
        'poll_again',
        'self._polled_at - self._unsettled_since < SETTLES_IN',
        'self._polled_at - self._unsettled_since < FIRST_RECHECK',
    ),
    Mutant(
        "a deadlock of Glance's database ends the boot",
        copying.Copy,
        '_meet',
        'elif not self._pace.poll_again():',
        'else:',
    ),
    Mutant(
        'an endpoint that hangs delays each boot',
        rounds.Round,
        '_shortest',
        'max(self._means.patience, SLACK * self._known.took)',
        'self._means.timeout',
    ),
    Mutant(
        'where all health checks are bad, no server boots',
        rounds.Round,
        '_wants_health',
        'if not self._left or self._hung:\n        return False',
        'return True',
    ),
    Mutant(
        'the pause that an endpoint wants is not kept',
        endpoints.Endpoints,
        'wait',
        'max(self._of(url).not_before - self._clock(), 0.0)',
        '0.0',
    ),
    Mutant(
        'a boot that ends keeps the lead',
        wait.Wait,
        '__exit__',
        'self.lead.resign()',
        'pass',
    ),
    Mutant(
        'locations older than their record are taken for a mismatch',
        finding.Finder,
        '_are_of',
        'not record.holds(self.store)',
        'True',
    ),
    Mutant(
        "a record older than another user's copy is taken for missing data",
        finding.Finder,
        'bring',
        'lambda record: record.holds(self.store) or not record.active',
        'bool',
    ),
    Mutant(
        'a lease that has run out is left in the pool',
        lead.Lead,
        'resign',
        'if not ran_out or self._lease.hold(LEASE):',
        'if not ran_out:',
    ),
    Mutant(
        'locations that are forbidden for a moment end the boot',
        finding.Finder,
        '_ask_until',
        'if is_believed:',
        'if True:',
    ),
    Mutant(
        'a token that is refused for a moment ends the wait',
        copying.Copy,
        '_poll',
        'if not self._pace.poll_again():',
        'if True:',
    ),
    Mutant(
        'an image deactivated between two answers is taken for a mismatch',
        finding.Finder,
        '_here',
        'source.require_active(images.record(record.id))',
        'pass',
    ),
    Mutant(
        'of what holds an image, it is not said when that can be taken over',
        holder.Holder,
        'timed_out',
        'self.task.lock_kept_until if self.task else None',
        'None',
    ),
    Mutant(
        'a glance-api that takes a minute to fail ends requests that fail',
        pace.Pace,
        'poll_again',
        'elif self._polled_at - self._unsettled_since',
        'elif self._time.clock() - self._unsettled_since',
    ),
    Mutant(
        'a request that fails after the time of a stall is not repeated',
        copying.Copy,
        '_look_last',
        'and not self._pace.has_just_met',
        'and True',
    ),
    Mutant(
        'a glance-api that alone denies a copy ends the boot',
        glance.Glance,
        'request_copy',
        'ask(doubted=(asking.Unauthorized, asking.Forbidden))',
        'ask()',
    ),
    Mutant(
        'a glance-api that alone hides locations ends the boot',
        glance.Glance,
        'locations',
        'doubted=(asking.Forbidden,)',
        'doubted=()',
    ),
)
