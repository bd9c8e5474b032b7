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

"""How well a thing is prepared for boots, and the sentence that helps."""

from collections.abc import Sequence

from oslo_upgradecheck import upgradecheck

Code = upgradecheck.Code
Result = upgradecheck.Result


class NotChecked(Exception):
    """Something else has to be right before this can be checked.

    :param reason: what, in a sentence
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f'Not checked: {reason}')


def passes(details: str) -> Result:
    """All is well."""
    return Result(Code.SUCCESS, details)


def warns(details: str) -> Result:
    """Boots go well for now, or that could not be found out."""
    return Result(Code.WARNING, details)


def fails(details: str) -> Result:
    """Boots fail, or some of them."""
    return Result(Code.FAILURE, details)


def worst(results: Sequence[Result]) -> Result:
    """One result of several: the worst, with what each of that kind says.

    :param results: at least one
    """
    code = max(result.code for result in results)
    said = [result.details for result in results if result.code == code]
    return Result(code, ' '.join(dict.fromkeys(filter(None, said))))
