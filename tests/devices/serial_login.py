"""A login on a console: asks for a name, and for a password if there is one, then is a shell.

argv: name, password, seconds that the answer to a password takes, file to which each name:password that was tried
is added.
"""

import getpass
import os
import pathlib
import sys
import time

name_wanted, password_wanted = sys.argv[1:3]
delay_s = float(sys.argv[3]) if len(sys.argv) > 3 else 0.3
tried = sys.argv[4] if len(sys.argv) > 4 else os.devnull


def admits(name):
    """Ask for the password and take its time to answer, as PAM does."""
    if not password_wanted:
        return name == name_wanted
    password = getpass.getpass("Password: ")
    with pathlib.Path(tried).open("a") as file:
        file.write(f"{name}:{password}\n")
    time.sleep(delay_s)
    return name == name_wanted and password == password_wanted


while True:
    sys.stdout.write("\r\nTinyBoard 1.0 ttyS0\r\n\r\nboard login: ")
    sys.stdout.flush()
    name = sys.stdin.readline().strip()
    if not name:
        continue
    if admits(name):
        break
    sys.stdout.write("\r\nLogin incorrect\r\n")
sys.stdout.write("Last login: Mon Jan  5 10:00:00 on ttyS0\r\n")
sys.stdout.flush()
os.execvp("bash", ["bash", "--norc", "-i"])
