"""An agent as a process, and the host's end of its pipes, byte by byte."""

import contextlib
import os
import select
import subprocess
import sys

from edgeprune_agent import wire
from edgeprune_agent.wire import Lanes, StreamReader, StreamWriter

PLAIN = "import sys; from edgeprune_agent.__main__ import main; sys.exit(main(sys.argv[1:]))"


class RawAgent:
    """An agent process and the host's end of its pipes."""

    def __init__(self, root, script=PLAIN, options=()):
        command = [sys.executable, "-I", "-c", script, "--root", str(root), *options]
        self.process = subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.reader, self.writer, self.lanes = StreamReader(), StreamWriter(session=5), Lanes()
        self.number, self.frames = 0, []

    def read(self, timeout_s=10.0):
        ready, _, _ = select.select([self.process.stdout], [], [], timeout_s)
        assert ready, "the agent is silent"
        return os.read(self.process.stdout.fileno(), 1 << 20)

    def write(self, data):
        self.process.stdin.write(data)

    def flush(self):
        for data in iter(self.writer.take, b""):
            self.write(data)

    def frame(self, timeout_s=10.0):
        while not self.frames:
            data = self.read(timeout_s)
            assert data, self.last_words()
            self.frames += self.reader.feed(data)
        return self.frames.pop(0)

    def hello(self, **changes):
        greeting = b""
        while len(greeting) < len(wire.PREAMBLE):
            greeting += self.read()
        assert greeting == wire.PREAMBLE
        hello = {"epl": [1, 1], "host": "test", "nonce": "n1", "max_frame": 65536, "feat": [], **changes}
        self.writer.signal(wire.HELLO, wire.encode_json(hello))
        self.flush()
        self.writer.max_frame = hello["max_frame"]
        return self.frame()

    def message(self, timeout_s=10.0):
        while True:
            frame = self.frame(timeout_s)
            if frame.kind == wire.DATA:
                found = self.lanes.accept(frame)
                if found is not None:
                    return found

    def ask(self, op, **arguments):
        self.number += 1
        self.writer.post(wire.json_message(wire.REQ, self.number, {"op": op, **arguments}))
        self.flush()
        return self.number

    def answer(self, op, **arguments):
        number = self.ask(op, **arguments)
        message = self.message()
        assert (message.type, message.request) == (wire.RES, number), message
        return message.content() if message.codec == wire.RAW else message.data()

    def refusal(self, op, **arguments):
        number = self.ask(op, **arguments)
        message = self.message()
        assert (message.type, message.request) == (wire.ERR, number), message
        return message.data()

    def last_words(self):
        return self.process.stderr.read().decode()

    def wait(self):
        return self.process.wait(10)

    def close(self):
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()
