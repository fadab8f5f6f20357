"""Become another user if asked, listen to SIGINT, tie the process's life to its parent's, exec the real program.

Run by path in an isolated interpreter (`python -I -S exec_shim.py PARENT_PID UID GID PROGRAM ARGUMENT...`,
`-` for "keep"), so it imports the standard library only. See prctl(2), PR_SET_PDEATHSIG.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: str, uid: str, gid: str, *argv: str) -> None:
    """Apply the credentials and the death signal to this process and replace it by `argv`."""
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    # A shell starts what it runs in the background with SIGINT ignored, and children inherit that: `make up &` could
    # not end Dagster in good order.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        # After the change of user, because changing credentials clears the death signal.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the call above, and then no signal would ever come.
    if os.getppid() != int(parent):
        sys.exit(1)
    os.execvpe(argv[0], list(argv), os.environ)


if __name__ == "__main__":
    main(*sys.argv[1:])
