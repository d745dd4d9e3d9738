"""A login on a console: asks for a name, and for a password if there is one, then is a shell. argv: name, password."""

import getpass
import os
import sys
import time

while True:
    sys.stdout.write("\r\nTinyBoard 1.0 ttyS0\r\n\r\nboard login: ")
    sys.stdout.flush()
    name = sys.stdin.readline().strip()
    if not name:
        continue
    if (not sys.argv[2] or getpass.getpass("Password: ") == sys.argv[2]) and name == sys.argv[1]:
        break
    time.sleep(0.3)
    sys.stdout.write("\r\nLogin incorrect\r\n")
sys.stdout.write("Last login: Mon Jan  5 10:00:00 on ttyS0\r\n")
sys.stdout.flush()
os.execvp("bash", ["bash", "--norc", "-i"])
