"""The one exception that a user is meant to read, and what the file system refuses in its words."""

import errno
import os
from pathlib import Path

# No space on the disk, or none left of a person's share; a file larger than the file system allows.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FIXES = {
    **dict.fromkeys(FULL, "free some space on that disk, then run the same command again"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        "change the permissions of the file or folder, or choose another one",
    ),
    errno.EROFS: "choose a folder on a disk that can be written, such as another results_dir",
    errno.EISDIR: "move the folder away, or name another file",
    errno.ENOTDIR: "move away the file that has a folder's name, or name another folder",
    errno.EEXIST: "move away the file that has a folder's name, or name another folder",
}


# Characters of a line.
_MOST_SHOWN = 1000


class GenebertError(Exception):
    """Something a person can mend: what is wrong, where, and how to mend it.

    Parameters
    ----------
    what
        One line: what is wrong, with the offending value.
    fix
        One line: what to do about it.
    where
        File and line, or configuration key; empty where ``what`` says it already.
    """

    def __init__(self, what: str, fix: str, where: str = "") -> None:
        self.what, self.fix, self.where = map(shown, (what, fix, where))
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        return f"{self.what}{where}\nfix: {self.fix}"


def shown(text: str) -> str:
    """Return text that a terminal can show: what files hold may be long, or move the cursor."""
    if len(text) <= _MOST_SHOWN and text.isprintable():
        return text
    lines = (
        line if len(line) <= _MOST_SHOWN else f"{line[: _MOST_SHOWN // 2]} … {line[-_MOST_SHOWN // 2 :]}"
        for line in text.split("\n")
    )
    return "\n".join("".join(map(_character, line)) for line in lines)


def _character(one: str) -> str:
    if one.isprintable() or one == "\t":
        return one
    return one.encode("unicode_escape", "surrogatepass").decode()


def unwritable(path: str | Path, error: OSError) -> GenebertError:
    """Return what to say of a file or folder that cannot be written, with the system's reason."""
    return GenebertError(f"{path} cannot be written: {_reason(error)}", fix_of(error))


def refused_by_disk(error: OSError) -> bool:
    """Return whether an error is about space, permissions or what has a file's name already."""
    return error.errno in _FIXES


def fix_of(error: OSError) -> str:
    """Return one line on how to mend what the file system refuses."""
    return _FIXES.get(error.errno or 0, "check the path, its permissions and the space left")


def root_of(error: OSError) -> OSError:
    """Return the error below one by which a library hides the system's reason."""
    while error.errno is None and isinstance(error.__context__, OSError):
        error = error.__context__
    return error


def first_line(error: Exception) -> str:
    """Return the first line of what an error says; its kind where it says nothing (a timeout)."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _reason(error: OSError) -> str:
    # Libraries put their own words before the system's.
    return os.strerror(error.errno) if error.errno else first_line(error)
