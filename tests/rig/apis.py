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

"""Further OpenStack APIs beside the lab's, over the same databases.

For a deployment that differs in some options: the lab's own stay as they are.
"""

from collections.abc import Callable, Mapping, Sequence
import configparser
import os
import pathlib
import re
import shlex
import shutil
import signal
import ssl
import subprocess
from typing import ClassVar
import urllib.error
import urllib.request

from openstack import connection
import requests

from lab import layout
from tests.rig import certificates
from tests.rig import polling
from tests.rig import ports

Options = Mapping[str, Mapping[str, str]]

#: By which Glance's health check sees that a file store is there.
MARKER = '.glance'


class Api:
    """A real WSGI application with a configuration of its own.

    :param like: directory of the lab's configuration that this is a copy of
    :param where: directory for its own, its data and its log
    :param options: that differ, by section and name
    :param tls: how to serve it over TLS, if so
    :param workers: processes that serve it
    :param threads: of each of them
    :param disks: directories where it alone sees an empty file system, and
        how large that is, or another directory; markers of the health check
        are there, too
    :param wrapper: the command that runs it
    """

    #: Where it listens.
    address = '127.0.0.1'
    #: The module that has the application.
    module: ClassVar[str]
    #: Its configuration file, and what tells it where that is.
    conf_file: ClassVar[str]
    conf_variable: ClassVar[str]

    def __init__(
        self,
        like: pathlib.Path,
        where: pathlib.Path,
        options: Options,
        tls: certificates.Tls | None = None,
        workers: int = 1,
        threads: int = 8,
        disks: Mapping[pathlib.Path, str | pathlib.Path] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self._disks = disks or {}
        self._wrapper = wrapper
        self._where = where
        self._tls = tls
        self._workers = workers
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        shutil.copytree(like, where / 'etc')
        self._port = ports.free()
        self.configure(self._own_options(), options)
