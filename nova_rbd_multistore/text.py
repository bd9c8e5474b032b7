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

"""Text from outside, made fit for a log line or an error message."""

import re
import string

_WORD = re.compile(r'\S+')
_SCHEME = string.ascii_letters + string.digits + '+.-'
_USER_INFORMATION = re.compile(r'(?<=://)[^/?#\s]*@')

#: As much of a foreign text as an error needs: a sentence or two.
LIMIT = 400


def printable(text: object, limit: int = LIMIT) -> str:
    """``text`` on one line: no control characters, ``limit`` at most.

    Image names, task messages and error bodies come from users and from
    Glance; a new line in one must not look like a log entry of ours.
    """
    # Cut first: the work must not grow with what somebody sends us.
    cut = str(text)[: limit + 1]
    line = ''.join(c if c.isprintable() else ' ' for c in cut)
    return f'{line[: limit - 1]}…' if len(cut) > limit else line


def without_credentials(text: str) -> str:
    """``text`` without the user information of the URLs in it."""
    return _USER_INFORMATION.sub('', text)


def without_urls(text: str) -> str:
    """``text`` for a tenant: the URLs in it are the operator's business."""
    return _WORD.sub(_without_url, text)


def _without_url(word: re.Match[str]) -> str:
    before, separator, _ = word[0].partition('://')
    if not separator:
        return before
    return before.rstrip(_SCHEME) + '(an address)'
