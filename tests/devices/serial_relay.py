"""A serial cable with a board's console at its far end, made of two pseudo terminals: run as a process of its own.

It carries no more bytes a second than a line of its speed would, damages some, and says kernel messages as a console
does. Prints the path of the near end; then reads one JSON object a line: settings to change, {"hang_up": true},
or {"stats": true}, which is answered by one line.
"""

import argparse
import json
import os
import pty
import random
import select
import signal
import sys
import termios
import time

TICK_S = 0.002
MESSAGE = b"[   42.123456] usb 1-1: new high-speed USB device number 7 using xhci_hcd\r\n"
SPEEDS = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()}


MOST_BYTES = 512
"""That are carried at a time while the cable is about to be pulled, so that it is pulled about there."""


class Direction:
    """One way of the cable.

    Args:
        source: Master of the terminal whose user sends.
        sink: Master of the other one.
        settings: Shared by both ways.
        talks: Whether kernel messages go this way.
    """

    def __init__(self, source, sink, settings, talks):
        self.source, self.sink, self.settings, self.talks = source, sink, settings, talks
        self.budget, self.at = 0.0, time.monotonic()
        self.message_at = self.at
        self.carried = self.errors = self.lost = 0
        self.rng = random.Random(settings["seed"] + talks)
        self.next_flip = self.next_drop = 0
        self.dropping = 0
        self._draw("flips")
        self._draw("drops")

    def _draw(self, kind):
        p = self.settings[kind]
        gap = 1 + int(self.rng.expovariate(p)) if p else 1 << 60
        setattr(self, "next_flip" if kind == "flips" else "next_drop", self.carried + gap)

    def rate(self):
        return self.settings["rate"] or speed(self.source) / 10 or 1.0

    def move(self, now):
        """Carry what the line had time for."""
        self.budget = min(self.budget + (now - self.at) * self.rate(), self.rate() * 0.25)
        self.at = now
        if self.talks and self.settings["message_s"] and now - self.message_at > self.settings["message_s"]:
            self.message_at = now
            self.put(MESSAGE)
            self.budget -= len(MESSAGE)
        if self.budget < 1:
            return
        try:
            most = MOST_BYTES if self.settings["pull_after"] else int(self.budget)
            data = os.read(self.source, min(most, int(self.budget)))
        except OSError:
            data = b""
        # A line that is idle saves up no time.
        self.budget = self.budget - len(data) if len(data) >= int(self.budget) else 0.0
        if data:
            self.put(self.damage(data))

    def damage(self, data):
        start, self.carried = self.carried, self.carried + len(data)
        if self.settings["silent"]:
            return b""
        speeds = {speed(self.source), speed(self.sink)}
        if not self.settings["rate"] and (len(speeds) > 1 or max(speeds) > self.settings["limit"]):
            return bytes(self.rng.randrange(256) for _ in data)
        if self.settings["swallow"].encode() in data and self.settings["swallow"]:
            data = data.replace(self.settings["swallow"].encode(), b"", 1)
            self.settings["swallow"] = ""
            self.errors += 1
        if self.next_flip >= self.carried and self.next_drop >= self.carried and not self.dropping:
            return data
        out = bytearray()
        for at, byte in enumerate(data, start):
            if at >= self.next_flip:
                byte ^= self.rng.randrange(1, 256)
                self.errors += 1
                self._flip_next(at)
            if at >= self.next_drop:
                self.dropping = self.settings["burst"]
                self.errors += 1
                self._drop_next(at)
            if self.dropping:
                self.dropping -= 1
            else:
                out.append(byte)
        return bytes(out)

    def _flip_next(self, at):
        p = self.settings["flips"]
        self.next_flip = at + 1 + int(self.rng.expovariate(p)) if p else 1 << 60

    def _drop_next(self, at):
        p = self.settings["drops"]
        self.next_drop = at + 1 + int(self.rng.expovariate(p)) if p else 1 << 60

    def redraw(self):
        self._flip_next(self.carried)
        self._drop_next(self.carried)

    def put(self, data):
        try:
            self.lost += len(data) - os.write(self.sink, data)
        except OSError:
            self.lost += len(data)  # nobody reads: an overrun, as on a real line


def speed(fd):
    if fd < 0:
        return 0
    return SPEEDS.get(termios.tcgetattr(fd)[5], 0)


def start_board(command, home, rate):
    pid, master = pty.fork()
    if pid == 0:
        attributes = termios.tcgetattr(0)
        attributes[4] = attributes[5] = getattr(termios, f"B{rate}", termios.B115200)
        termios.tcsetattr(0, termios.TCSANOW, attributes)
        env = {"HOME": home, "PATH": os.environ["PATH"], "TERM": "vt220", "PS1": "board$ ", "LC_ALL": "C"}
        os.execvpe(command[0], command, env)
    return pid, master


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True)
    parser.add_argument("--settings", default="{}")
    parser.add_argument("--baud", type=int, default=115200)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    settings = {"rate": 0, "flips": 0.0, "drops": 0.0, "burst": 1, "message_s": 0.0, "silent": False, "seed": 1}
    settings.update({"limit": 10_000_000, "pull_after": 0, "swallow": ""})
    settings.update(json.loads(options.settings))
    board, far = start_board(options.command, options.home, options.baud)
    os.set_blocking(far, False)
    near, keep = plug(options.baud)
    say(f"{os.ttyname(keep)} {board}")
    ways = [Direction(near, far, settings, False), Direction(far, near, settings, True)]
    try:
        obey(ways, settings, keep, options.baud, board)
    finally:
        os.kill(board, signal.SIGHUP)
        os.close(far)
        time.sleep(0.05)
        os.kill(board, signal.SIGKILL)


def plug(baud):
    """The near end: its master, and its slave kept open so that it outlives who uses it."""
    near, keep = pty.openpty()
    attributes = termios.tcgetattr(keep)
    attributes[3] &= ~termios.ECHO
    attributes[4] = attributes[5] = getattr(termios, f"B{baud}")
    termios.tcsetattr(keep, termios.TCSANOW, attributes)
    os.set_blocking(near, False)
    return near, keep


def console(terminal, board):
    """Who has the console, and whether that is what was started on it and takes Ctrl-C for what it is."""
    foreground = os.tcgetpgrp(terminal)
    signals = bool(termios.tcgetattr(terminal)[3] & termios.ISIG)
    return {"foreground": foreground, "shell": foreground == board and signals}


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def state(way):
    return {"carried": way.carried, "errors": way.errors, "lost": way.lost, "speed": speed(way.source)}


def obey(ways, settings, keep, baud, board):
    poller = select.poll()
    poller.register(0, select.POLLIN)
    up, down = ways
    orders, rest = [], b""
    while True:
        if not orders and poller.poll(TICK_S * 1000):
            data = os.read(0, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            orders += lines
        if orders:
            order = json.loads(orders.pop(0))
            if order.pop("hang_up", False):
                return
            if order.pop("stats", False):
                say(json.dumps([state(up), {**state(down), **console(down.source, board)}]))
            if order.pop("pull", False):
                os.close(keep)
                os.close(up.source)
                up.source = down.sink = keep = -1
            if order.pop("plug", False):
                up.source, keep = plug(baud)
                down.sink = up.source
                say(os.ttyname(keep))
            settings.update(order)
            for way in ways if order else ():
                way.redraw()
        now = time.monotonic()
        for way in ways:
            way.move(now)
        if settings["pull_after"] and up.carried >= settings["pull_after"]:
            settings["pull_after"] = 0
            orders.append('{"pull": true}')


if __name__ == "__main__":
    main()
