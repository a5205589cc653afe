#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Which waiting policy of OpenMP the program runs under: seen from outside while it waits for its configuration.

usage: thread_waiting_test.py GRADWIND"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

GRADWIND = sys.argv.pop(1)


def variables_of_waiting_program(folder, environment):
    """The environment of `gradwind config check` after it opened its file, a pipe."""
    pipe = pathlib.Path(folder) / "config.yaml"
    os.mkfifo(pipe)
    program = subprocess.Popen([GRADWIND, "config", "check", str(pipe)], env=environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with open(pipe, "w") as writer:  # returns when the program has opened the other end
            seen = pathlib.Path(f"/proc/{program.pid}/environ").read_bytes()
            writer.write("model: {}\n")
    finally:
        program.wait(timeout=60)
    return dict(entry.split("=", 1) for entry in seen.decode().split("\0") if "=" in entry)


class ThreadWaiting(unittest.TestCase):
    def setUp(self):
        policies = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OPENBLAS_THREAD_TIMEOUT")
        self.bare = {key: value for key, value in os.environ.items() if key not in policies}
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def test_threads_sleep_by_default(self):
        seen = variables_of_waiting_program(self.folder.name, self.bare)
        self.assertEqual(seen.get("OMP_WAIT_POLICY"), "passive")
        self.assertEqual(seen.get("OPENBLAS_THREAD_TIMEOUT"), "16")

    def test_the_users_policy_stays(self):
        seen = variables_of_waiting_program(self.folder.name, {**self.bare, "OMP_WAIT_POLICY": "active"})
        self.assertEqual(seen.get("OMP_WAIT_POLICY"), "active")
        with tempfile.TemporaryDirectory() as other:
            seen = variables_of_waiting_program(other, {**self.bare, "GOMP_SPINCOUNT": "1000"})
        self.assertNotIn("OMP_WAIT_POLICY", seen)


unittest.main()
