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

"""Drawings for the documentation."""

import pathlib

from matplotlib import figure


def save(drawing: figure.Figure, path: pathlib.Path) -> None:
    """Write a drawing as SVG that is the same for the same figures."""
    drawing.savefig(path, metadata={'Date': None})
    # Matplotlib leaves blanks at the ends of lines.
    lines = path.read_text().splitlines()
    path.write_text('\n'.join(line.rstrip() for line in lines) + '\n')
