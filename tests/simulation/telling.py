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


"""One run told to a person: its story, and what happened second by second."""

from collections.abc import Iterator
import logging

from tests.simulation import checks
from tests.simulation import history as histories
from tests.simulation import stories
from tests.simulation import world

PACKAGE = 'nova_rbd_multistore'


def tell(story: stories.Story) -> str:
    """Have a story happen, and tell of it; what is broken comes last."""
    cloud = world.World(story)
    log = world.Log(cloud.clock)
    logger = logging.getLogger(PACKAGE)
    before, level = logging.root.manager.disable, logger.level
    logging.disable(logging.NOTSET)
    logger.setLevel(logging.INFO)
    logger.addHandler(log)
    logger.propagate = False
    try:
        history = cloud.run()
    finally:
        logger.removeHandler(log)
        logger.propagate = True
        logger.setLevel(level)
        logging.disable(before)
    lines = [
        *_events(history),
        *((at, f'log: {said}') for at, said in log.lines),
    ]
    lines.sort(key=lambda line: line[0])
    return '\n'.join(
        [
            str(story),
            '',
            *(f'{at:9.2f} {words}' for at, words in lines),
            '',
            *(checks.broken(history) or ['Nothing is broken.']),
        ]
    )


def _events(history: histories.History) -> Iterator[tuple[float, str]]:
    for spell in history.spells:
        yield spell.began, f'{spell.target} {spell.kind} {spell.detail}'
        yield spell.ended, f'... and {spell.target} does so no longer'
    for boot in history.boots:
        yield boot.began, f'{boot.host} begins to boot {boot.name}'
        if boot.ended is not None:
            yield boot.ended, f'{boot.name}: {boot.outcome} {boot.message}'
    for copy in history.copies:
        name = f'copy {copy.task[:4]} of {copy.image} to {copy.store}'
        yield copy.began, f'{name} is accepted by {copy.api}'
        for at, status, message in copy.said:
            yield at, f'{name}: {status} {message}'
    for change in history.changes:
        if change.what != 'more':
            yield change.at, f'{change.image} {change.what} {change.store}'
    for request in history.requests:
        if 'healthcheck' not in request.question:
            yield (
                request.ended,
                f'{request.host} had {request.status or "no answer"} of '
                f'{request.api} to {request.question}',
            )
