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


"""What has to be true of every run, whatever went wrong in it.

Each check looks at a history alone, and says in words what it finds broken.
Where an error has a cause, the check is whether that cause was there.
"""

from collections.abc import Callable, Iterator

from benchmarks.fleet import ours
from nova_rbd_multistore import pace
from tests.simulation import history as histories
from tests.simulation import processes
from tests.simulation import stories

Kind = stories.Kind
History = histories.History

#: Seconds that anything takes beside what it waits for.
SLACK = 5.0

#: Seconds for the boot of an image that is here, where one glance-api is well:
#: others may hang, one question each may have to wait for that.
PROMPT = 8.0

#: Faults with which a glance-api may give no answer.
SILENCES = (
    *(Kind.DOWN, Kind.FROZEN, Kind.KILLED, Kind.FAILING, Kind.PAGE),
    *(Kind.CUT, Kind.BUSY, Kind.LOSSY, Kind.SLOW),
)

#: Faults that make questions wait for a time-out.
HANGS = (
    *(Kind.FROZEN, Kind.SLOW, Kind.LOSSY, Kind.BUSY, Kind.COLD, Kind.AWAY),
    *(Kind.SLUGGISH, Kind.HOST_FROZEN, Kind.KILLED, Kind.DISTANT),
)

#: Faults of a glance-api that keep it from making a copy.
FAILURES = (
    *(Kind.STAGING_FULL, Kind.UPLOADS_FAIL, Kind.DEADLOCKED),
    *(Kind.FEWER_STORES, *SILENCES),
)

Check = Callable[[History], Iterator[str]]


def every_boot_ends(history: History) -> Iterator[str]:
    """Within its bound, which is longer where something hangs."""
    for boot in history.boots:
        if boot.ended is None:
            yield f'{boot.name} never ended'
            continue
        bound = history.story.limits.timeout + SLACK
        hangs = [
            spell
            for spell in history.spells_of(
                *HANGS, began=boot.began, ended=boot.ended
            )
            if spell.target in (boot.host, boot.site, *history.story.apis)
        ]
        if hangs:
            # A last question, and the last request, to each glance-api.
            bound += 4 * ours.REQUEST_TIMEOUT
        bound += sum(
            spell.ended - spell.began
            for spell in hangs
            if spell.kind is Kind.HOST_FROZEN
        )
        if boot.took > bound:
            yield f'{boot.name} took {boot.took:.0f} s, bound {bound:.0f} s'


def nothing_else_is_raised(history: History) -> Iterator[str]:
    """A boot ends with a disk, or with an error that is documented."""
    for boot in history.boots:
        if boot.outcome not in (*CAUSES, *_NO_ERRORS):
            yield f'{boot.name} ended with {boot.outcome}: {boot.message}'


def a_disk_is_of_its_image(history: History) -> Iterator[str]:
    """A clone of the image's snapshot in the host's own cluster."""
    for boot in history.boots:
        if boot.outcome != histories.DISK:
            continue
        right = f'fsid-{boot.site}', boot.image, 'snap'
        if boot.parent != right:
            yield f'{boot.name} is a clone of {boot.parent}, not of {right}'


def nobody_boots_without_the_right(history: History) -> Iterator[str]:
    """Whoever gets a disk could see the image shortly before."""
    shared = {image.name for image in history.story.images if image.shared}
    for boot in history.boots:
        if boot.outcome != histories.DISK or boot.ended is None:
            continue
        for spell in history.spells:
            hidden = (
                (spell.kind is Kind.DEACTIVATED and spell.target == boot.image)
                or (
                    spell.kind is Kind.WITHDRAWN
                    and spell.target == boot.image
                    and boot.image in shared
                    and boot.project == 'other'
                )
                or (
                    spell.kind is Kind.EXPIRED and spell.target == boot.project
                )
            )
            # All that is asked before the clone may be as old as a replica.
            since = max(spell.began + stories.LONGEST_LAG, boot.began)
            if (
                hidden
                and since < boot.ended - SLACK < spell.ended - SLACK
                and not _was_asked_before(history, boot, spell.began)
            ):
                yield (
                    f'{boot.name} has a disk, though {spell.target} '
                    f'{spell.kind}'
                )


def _was_asked_before(
    history: History, boot: histories.Boot, moment: float
) -> bool:
    """Whether Glance was asked before a moment, and has answered just now.

    One that hangs has looked at the token before.
    """
    return any(
        request.host == boot.host
        and request.status == 200
        and request.question.endswith('/locations')
        and boot.image in request.question
        and request.at <= moment
        and _ended(boot) - SLACK <= request.ended <= _ended(boot)
        for request in history.requests
    )


def an_error_is_true(history: History) -> Iterator[str]:
    """The cause that an error names was there."""
    for boot in history.boots:
        cause = CAUSES.get(boot.outcome)
        if cause is not None and not cause(history, boot):
            yield (
                f'{boot.name} ended with {boot.outcome}, which is not true: '
                f'{boot.message}'
            )


def a_local_image_boots_promptly(history: History) -> Iterator[str]:
    """If it is here and all is well, but for some of the glance-apis."""
    for boot in history.boots:
        if boot.ended is None or not _must_be_prompt(history, boot):
            continue
        if boot.outcome in (histories.KILLED, histories.UNWANTED):
            continue
        if boot.outcome != histories.DISK or boot.took > PROMPT:
            yield (
                f'{boot.name} took {boot.took:.1f} s to {boot.outcome}, '
                f'though {boot.image} was in {boot.site} all the time'
            )


def an_image_that_has_come_is_noticed(history: History) -> Iterator[str]:
    """A boot ends soon once the image is here, where nothing goes wrong."""
    for boot in history.boots:
        if boot.outcome in (histories.KILLED, histories.UNWANTED):
            continue
        late = _noticed_after(history, boot)
        if late is not None:
            yield (
                f'{boot.name} ended with {boot.outcome} {late:.0f} s after '
                f'{boot.image} had come'
            )


def a_copy_is_made_once(history: History) -> Iterator[str]:
    """Of an image to a store; again only where it was removed, or failed."""
    made: dict[tuple[str, str], list[histories.Copy]] = {}
    for copy in history.copies:
        made.setdefault((copy.image, copy.store), []).append(copy)
    for (image, store), copies in made.items():
        removed = sum(
            change.what == 'gone'
            for change in history.changes
            if (change.image, change.store) == (image, store)
        )
        done = [copy for copy in copies if copy.succeeded]
        if len(done) > 1 + removed:
            yield f'{image} was copied to {store} {len(done)} times'
        ended = [copy for copy in copies if copy.ended is not None]
        lost = len(copies) - len(done)
        if len(copies) > 1 + removed + lost and ended:
            yield f'{len(copies)} copies of {image} to {store} were begun'


def a_pause_is_kept(history: History) -> Iterator[str]:
    """A host asks nothing of a glance-api that has just wanted a pause.

    But what was under way at that moment.
    """
    pauses: dict[tuple[str, str], float] = {}
    for request in sorted(history.requests, key=lambda one: one.at):
        key = request.host, request.api
        told = pauses.get(key)
        if told is not None and told <= request.at < told + processes.PAUSE:
            yield (
                f'{request.host} asked {request.api} at {request.at:.1f}, '
                f'which had wanted a pause at {told:.1f}'
            )
        if request.status == 503 and any(
            spell.target == request.api
            for spell in history.spells_of(
                Kind.BUSY, began=request.at, ended=request.ended
            )
        ):
            pauses[key] = min(request.ended, pauses.get(key, request.ended))
        elif told is not None and request.at >= told + processes.PAUSE:
            del pauses[key]


def nothing_is_left(history: History) -> Iterator[str]:
    """No lease, no claim, no trial, no shared work.

    A lease that its host could not release runs out, and its object is there
    until the next leader in the wait for that image removes it.
    """
    sites = {host.name: host.site for host in history.story.hosts}
    unreleased = {
        f'a lease in {sites.get(spell.target, spell.target)}'
        for spell in history.spells
        if spell.kind in (Kind.AWAY, Kind.HOST_KILLED, Kind.DISTANT)
    }
    for what in history.left:
        if what not in unreleased:
            yield what


def all_boots_when_faults_have_ended(history: History) -> Iterator[str]:
    """Each image boots at each site, once what an error says was done."""
    last: dict[tuple[str, str], histories.Boot] = {}
    for boot in history.boots:
        if boot.last:
            last[boot.site, boot.image] = boot
    for (site, image), boot in last.items():
        if boot.outcome != histories.DISK:
            yield (
                f'{image} does not boot in {site} any more: {boot.outcome}: '
                f'{boot.message}'
            )


CHECKS: tuple[Check, ...] = (
    every_boot_ends,
    nothing_else_is_raised,
    a_disk_is_of_its_image,
    nobody_boots_without_the_right,
    an_error_is_true,
    a_local_image_boots_promptly,
    an_image_that_has_come_is_noticed,
    a_copy_is_made_once,
    a_pause_is_kept,
    nothing_is_left,
    all_boots_when_faults_have_ended,
)


def broken(history: History) -> list[str]:
    """What is broken in a run, check by check."""
    return [
        f'{check.__name__}: {what}'
        for check in CHECKS
        for what in check(history)
    ]


# Causes

_NO_ERRORS = (histories.DISK, histories.KILLED, histories.UNWANTED)


def _ended(boot: histories.Boot) -> float:
    return boot.began if boot.ended is None else boot.ended


def _had(*kinds: Kind) -> Callable[[History, histories.Boot], bool]:
    """Whether there was such a fault during the boot, or right before it."""

    def cause(history: History, boot: histories.Boot) -> bool:
        return any(
            spell.target
            in (boot.image, boot.site, boot.project, *history.story.apis)
            for spell in history.spells_of(
                *kinds,
                began=boot.began - stories.LONGEST_LAG,
                ended=_ended(boot),
            )
        )

    return cause


def _is_gone(history: History, boot: histories.Boot) -> bool:
    return any(
        change.what == 'deleted' and change.image == boot.image
        for change in history.changes
        if change.at <= _ended(boot)
    ) or (boot.project == 'other' and _had(Kind.WITHDRAWN)(history, boot))


def _none_answers(
    history: History, boot: histories.Boot, *others: Kind
) -> bool:
    """Whether each glance-api had a fault with which it may not answer.

    :param others: faults that make it unfit to answer this
    """
    since = _ended(boot) - 2 * ours.REQUEST_TIMEOUT - ours.ENDPOINT_REST
    return all(
        any(
            spell.target == api
            for spell in history.spells_of(
                *(*SILENCES, *others),
                began=max(since, boot.began - ours.ENDPOINT_REST),
                ended=_ended(boot),
            )
        )
        for api in history.story.apis
    )


def _none_is_fit(history: History, boot: histories.Boot) -> bool:
    """Whether some lacked a store, and the others may not have answered."""
    return _had(Kind.FEWER_STORES)(history, boot) and _none_answers(
        history, boot, Kind.FEWER_STORES
    )


def _all_fail(history: History, boot: histories.Boot) -> bool:
    """Whether each glance-api failed at requests, and not for a moment.

    When the last request failed: what another has not answered until the end
    of the boot is a failure, too.
    """
    failed = max(
        (
            request.ended
            for request in history.requests
            if request.host == boot.host
            and request.status == 500
            and request.ended <= _ended(boot)
        ),
        default=_ended(boot),
    )
    # At its time-out, a boot says what it has met last.
    at = failed if _has_waited(history, boot) else failed - pace.SETTLES_IN / 2
    return at > _watched_since(history, boot) and all(
        any(
            spell.target == api
            for spell in history.spells_of(*FAILURES, began=at, ended=at)
        )
        for api in history.story.apis
    )


def _failed(history: History, boot: histories.Boot) -> bool:
    """Whether a copy failed, in each glance-api that could have made it.

    Or has come, and gone again: Glance has deleted a half of the image.
    """
    if _is_gone_again(history, boot):
        return True
    failed = {
        copy.api
        for copy in history.copies
        if (copy.image, copy.store) == (boot.image, boot.site)
        and copy.failed
        and copy.ended is not None
        and _watched_since(history, boot) <= copy.ended <= _ended(boot)
    }
    if not failed:
        return False
    lies_there = [
        change.what != 'gone'
        for change in history.changes
        if (change.image, change.store) == (boot.image, boot.site)
        # Who is told to remove it does so at once.
        and change.at < _ended(boot)
    ]
    in_the_way = _had(Kind.OVER_QUOTA)(history, boot) or (
        bool(lies_there) and lies_there[-1]
    )
    unfit = {
        spell.target
        for spell in history.spells_of(
            *(*FAILURES, Kind.TOKENLESS),
            began=_watched_since(history, boot),
            ended=_ended(boot),
        )
    }
    return in_the_way or failed | unfit >= set(history.story.apis)


def _is_gone_again(history: History, boot: histories.Boot) -> bool:
    return any(
        copy.succeeded
        and (copy.image, copy.store) == (boot.image, boot.site)
        and any(
            change.what == 'gone'
            and (change.image, change.store) == (boot.image, boot.site)
            and copy.ended is not None
            and copy.ended <= change.at <= _ended(boot)
            for change in history.changes
        )
        for copy in history.copies
    )


def _has_stalled(history: History, boot: histories.Boot) -> bool:
    """Whether a copy was at work all the time, and showed nothing."""
    limits = history.story.limits
    since = _ended(boot) - limits.stall_timeout + 2 * limits.poll_interval
    until = _ended(boot)
    if _had(Kind.BEHIND)(history, boot):
        # Of later, nobody could know yet.
        until -= stories.LONGEST_LAG
    if _sees(history, boot) and any(
        since < change.at <= until
        for change in history.changes
        if (change.image, change.store) == (boot.image, boot.site)
    ):
        return False
    watched = _ended(boot) - _watched_since(history, boot)
    return watched >= limits.stall_timeout - SLACK and any(
        copy.image == boot.image
        and copy.began <= since
        and copy.status(_ended(boot)) == 'processing'
        and not any(since < at <= until for at, _, _ in copy.said)
        for copy in history.copies
    )


def _sees(history: History, boot: histories.Boot) -> bool:
    """Whether whoever follows the copy for a boot sees it arrive.

    One boot of a host does for all, and does not look any more once it may
    not.
    """
    began = _watched_since(history, boot)
    return not any(
        spell.target == boot.site
        for spell in history.spells_of(
            Kind.HIDDEN, Kind.AWAY, began=began, ended=_ended(boot)
        )
    )


def _watched_since(history: History, boot: histories.Boot) -> float:
    """When the first boot of this host began that may have watched for all."""
    return min(
        other.began
        for other in history.boots
        if (other.host, other.image) == (boot.host, boot.image)
    )


def _noticed_after(history: History, boot: histories.Boot) -> float | None:
    """For how long an image was here, and no fault was, if that is too long.

    None if it is not.
    """
    longest = pace.LONGEST_PAUSE * history.story.limits.poll_interval
    bound = longest * (1 + pace.JITTER) + SLACK
    since = max(_here_since(history, boot, _ended(boot)), boot.began)
    for spell in history.spells:
        after = spell.ended + ours.REQUEST_TIMEOUT
        if spell.began <= _ended(boot) and after >= since:
            since = after
    late = _ended(boot) - since
    return late if late > bound else None


def _has_waited(history: History, boot: histories.Boot) -> bool:
    return boot.took >= history.story.limits.timeout - 0.1


def _has_timed_out(history: History, boot: histories.Boot) -> bool:
    """Whether the boot has waited, and not beside an image that was here."""
    return _has_waited(history, boot) and _noticed_after(history, boot) is None


def _is_queued(history: History, boot: histories.Boot) -> bool:
    """Whether a copy has waited in line."""
    lag = stories.LONGEST_LAG + history.story.limits.poll_interval
    return _has_waited(history, boot) and any(
        copy.image == boot.image
        and copy.status(_ended(boot) - lag) == 'pending'
        for copy in history.copies
    )


def _is_held(history: History, boot: histories.Boot) -> bool:
    """Whether something else than a copy to here had the lock at the end."""
    lag = stories.LONGEST_LAG + history.story.limits.poll_interval
    since = _ended(boot) - lag
    return _has_waited(history, boot) and (
        any(
            spell.target == boot.image
            for spell in history.spells_of(
                Kind.HELD, began=since, ended=_ended(boot)
            )
        )
        or any(
            copy.image == boot.image
            and copy.began <= _ended(boot)
            and (copy.ended is None or copy.ended >= since)
            for copy in history.copies
        )
    )


def _is_refused(history: History, boot: histories.Boot) -> bool:
    """Whether Glance has refused a request of this host for the image."""
    return boot.took >= history.story.limits.stall_timeout - SLACK and any(
        request.status == 409
        and request.host == boot.host
        and f'/{boot.image}/' in request.question
        for request in history.requests
        if boot.began <= request.at <= _ended(boot)
    )


def _is_anothers(history: History, boot: histories.Boot) -> bool:
    shared = {image.name for image in history.story.images if image.shared}
    return boot.project == 'other' and boot.image in shared


def _data_is_missing(history: History, boot: histories.Boot) -> bool:
    return any(
        change.what == 'deleted'
        or (change.what == 'gone' and change.store == boot.site)
        for change in history.changes
        if change.image == boot.image and change.at <= _ended(boot)
    )


def _none_has_the_store(history: History, boot: histories.Boot) -> bool:
    return all(
        boot.site in _lacked(history, boot, api) for api in history.story.apis
    )


def _none_has_a_source(history: History, boot: histories.Boot) -> bool:
    """Whether each glance-api lacks the store, or all that have the image."""
    sources = _stores(history, boot.image, boot.began)
    sources &= _stores(history, boot.image, _ended(boot))
    return all(
        boot.site in lacked or (sources and sources <= lacked)
        for lacked in (
            _lacked(history, boot, api) for api in history.story.apis
        )
    )


def _lacked(history: History, boot: histories.Boot, api: str) -> set[str]:
    """The stores that a glance-api lacked during a boot, or right before."""
    return {
        spell.detail
        for spell in history.spells_of(
            Kind.FEWER_STORES,
            began=boot.began - stories.LONGEST_LAG,
            ended=_ended(boot),
        )
        if spell.target == api
    }


def _stores(history: History, image: str, at: float) -> set[str]:
    """The stores that Glance's record has an image in."""
    found: set[str] = set()
    for change in history.changes:
        if change.image != image or change.at > at:
            continue
        if change.what == 'listed':
            found.add(change.store)
        elif change.what in ('gone', 'unlisted'):
            found.discard(change.store)
    return found


def _lasted(history: History, boot: histories.Boot, *kinds: Kind) -> set[str]:
    """What had such a fault at the end of a boot, and not for a moment."""
    at = _ended(boot) - pace.SETTLES_IN / 2
    if at < boot.began:
        # It has not asked again.
        return set()
    return {
        spell.target for spell in history.spells_of(*kinds, began=at, ended=at)
    }


def _is_refused_for_long(history: History, boot: histories.Boot) -> bool:
    return boot.project in _lasted(history, boot, Kind.EXPIRED) or bool(
        _lasted(history, boot, Kind.TOKENLESS)
    )


def _forbidden_for_long(
    *others: Kind,
) -> Callable[[History, histories.Boot], bool]:
    """Whether one glance-api forbade it, and no other could do better.

    :param others: what else makes one unfit for that question
    """

    def find(history: History, boot: histories.Boot) -> bool:
        apis = history.story.apis
        without = _lasted(history, boot, Kind.TOKENLESS)
        unfit = _lasted(history, boot, *others, *SILENCES)
        # One that is asked second has to confirm it, if it can.
        needed = min(2, len(apis))
        return bool(without) and len((without | unfit) & set(apis)) >= needed

    return find


#: The errors that a boot may end with, and whether their causes were there.
CAUSES: dict[str, Callable[[History, histories.Boot], bool]] = {
    'ImageGone': _is_gone,
    'NotActive': _had(Kind.DEACTIVATED),
    'TokenRefused': _is_refused_for_long,
    'LocationsForbidden': _forbidden_for_long(),
    'CopyForbidden': _forbidden_for_long(Kind.FEWER_STORES, Kind.DEADLOCKED),
    'NotCopiedOnDemand': _is_anothers,
    'CopyOverQuota': _had(Kind.OVER_QUOTA),
    'CopyFailed': _failed,
    'CopyStalled': _has_stalled,
    'CopyTimedOut': _has_timed_out,
    'CopyQueued': _is_queued,
    'ImageHeld': _is_held,
    'CopyRefused': _is_refused,
    'NotInCluster': _data_is_missing,
    'GlanceUnavailable': _none_answers,
    'StoreUnavailable': _none_is_fit,
    'RequestFailed': _all_fail,
    'StoreUnknown': _none_has_the_store,
    'SourceOutOfReach': _none_has_a_source,
    'ClusterUnreachable': _had(Kind.AWAY, Kind.DISTANT),
    'PoolUnreadable': _had(Kind.HIDDEN),
}


def _here_since(history: History, boot: histories.Boot, at: float) -> float:
    """Since when Glance's record has the image in the boot's store.

    Infinite if it had not, a moment ago.
    """
    since = float('inf')
    for change in history.changes:
        if change.image != boot.image or change.at > at:
            continue
        if change.store == boot.site and change.what == 'listed':
            # What was there when the story begins was there long before.
            since = change.at or float('-inf')
        elif change.what == 'deleted' or (
            change.store == boot.site and change.what in ('gone', 'unlisted')
        ):
            since = float('inf')
    return since


def _must_be_prompt(history: History, boot: histories.Boot) -> bool:
    ended = _ended(boot)
    if _here_since(history, boot, ended) > boot.began - stories.LONGEST_LAG:
        return False
    began = boot.began - ours.ENDPOINT_REST - ours.REQUEST_TIMEOUT
    apis = set(history.story.apis)
    for spell in history.spells:
        if spell.kind in (
            *(Kind.SICK, Kind.STAGING_FULL, Kind.UPLOADS_FAIL),
            *(Kind.DEADLOCKED, Kind.COLD, Kind.FEWER_STORES),
            *(Kind.OVER_QUOTA, Kind.HELD, Kind.LEFTOVER),
            *(Kind.IMPORTED, Kind.IMPORTED_ANY),
        ):
            continue
        if spell.target in apis:
            if spell.overlaps(began, ended):
                apis.discard(spell.target)
        elif spell.overlaps(began, ended) or spell.kind in (
            Kind.DELETED,
            Kind.HOST_KILLED,
        ):
            return False
    shared = {image.name for image in history.story.images if image.shared}
    hidden = boot.project == 'other' and boot.image in shared
    # Of two that hang, each costs a moment.
    return bool(apis) and not hidden
