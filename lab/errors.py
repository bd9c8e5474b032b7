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

"""What stops the lab, said so that somebody can do something about it."""


class LabError(Exception):
    """The base of all: its text is for the person at the terminal."""


class NotMade(LabError):
    """There is no lab in this directory yet."""


class NotPossible(LabError):
    """This machine, or the way we were called, does not allow a lab."""


class CommandFailed(LabError):
    """A program that should have done its work and ended did not."""


class ServiceFailed(LabError):
    """A service died, or did not answer in time."""
