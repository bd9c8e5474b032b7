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

"""The directive ``sequence``: who calls whom, drawn from text.

The first line names the participants; each further one is a message
(``a -> b: text``), something that one does (``a: text``) or a heading
(``== text ==``)::

    .. sequence::

       nova-compute, glance-api
       nova-compute -> glance-api: GET /v2/images/{id}
       == later ==
       glance-api: copies
"""

from collections.abc import Iterator
import html
import re

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

COLUMN = 190
ROW = 30
TOP = 40

STYLE = """
.sequence line { stroke: #8a97a6 }
.sequence .call { stroke: #1f5f99; stroke-width: 1.5 }
.sequence text { fill: #1c2733 }
.sequence .who { font-weight: bold; text-anchor: middle }
.sequence .part { fill: #1f5f99; font-weight: bold }
.sequence rect { fill: #eaf1f8 }
"""

MESSAGE = re.compile(r'(?P<source>.+?) -> (?P<target>.+?): (?P<text>.+)')
DEED = re.compile(r'(?P<who>.+?): (?P<text>.+)')
HEADING = re.compile(r'== (?P<text>.+) ==')


class Drawing:
    """A diagram as SVG.

    :param lines: what the directive contains
    :raises ValueError: naming a line that is none of the three kinds, or a
        participant that the first line does not have
    """

    def __init__(self, lines: list[str]) -> None:
        self._names = [name.strip() for name in lines[0].split(',')]
        self._lines = [line for line in lines[1:] if line.strip()]
        self._width = COLUMN * len(self._names)
        self._height = TOP + ROW * (len(self._lines) + 1)

    def __str__(self) -> str:
        return '\n'.join(
            (
                f'<svg class="sequence" viewBox="0 0 {self._width} '
                f'{self._height}" width="{self._width}" role="img" '
                'font-family="sans-serif" font-size="13" '
                'style="max-width: 100%" '
                'xmlns="http://www.w3.org/2000/svg">',
                f'<style>{STYLE}</style>',
                *self._participants(),
                *self._rows(),
                '</svg>',
            )
        )

    def _participants(self) -> Iterator[str]:
        for name in self._names:
            x = self._x(name)
            yield _text(x, 20, name, 'who')
            yield f'<line x1="{x}" y1="28" x2="{x}" y2="{self._height}"/>'

    def _rows(self) -> Iterator[str]:
        for number, line in enumerate(self._lines, start=1):
            y = TOP + ROW * number
            if found := HEADING.fullmatch(line):
                yield f'<rect y="{y - 20}" width="{self._width}" height="24"/>'
                yield _text(8, y - 4, found['text'], 'part')
            elif found := MESSAGE.fullmatch(line):
                yield from self._call(
                    self._x(found['source']), self._x(found['target']), y
                )
                left = min(self._x(found['source']), self._x(found['target']))
                yield _text(left + 10, y - 6, found['text'])
            elif found := DEED.fullmatch(line):
                x = self._x(found['who'])
                yield f'<circle cx="{x}" cy="{y - 6}" r="4"/>'
                yield _text(x + 10, y - 2, found['text'])
            else:
                raise ValueError(f'not a line of a sequence: {line!r}')

    @staticmethod
    def _call(source: int, target: int, y: int) -> Iterator[str]:
        back = -8 if target > source else 8
        yield (
            f'<line class="call" x1="{source}" y1="{y}" x2="{target}" '
            f'y2="{y}"/>'
        )
        yield (
            f'<polygon points="{target},{y} {target + back},{y - 4} '
            f'{target + back},{y + 4}" fill="#1f5f99"/>'
        )

    def _x(self, name: str) -> int:
        return COLUMN * self._names.index(name) + COLUMN // 2


def _text(x: int, y: int, text: str, style: str = '') -> str:
    return f'<text x="{x}" y="{y}" class="{style}">{html.escape(text)}</text>'


class Sequence(Directive):
    has_content = True

    def run(self) -> list[nodes.Node]:
        self.assert_has_content()
        try:
            svg = str(Drawing(list(self.content)))
        except ValueError as exc:
            raise self.error(str(exc)) from exc
        return [nodes.raw('', svg, format='html')]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive('sequence', Sequence)
    return {'parallel_read_safe': True}
