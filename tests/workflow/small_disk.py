"""A small disk that can be full: a tmpfs that only the commands run through it see.

It lies in a mount namespace of its own, which an ordinary user may have, too, and which ends with its
last process: nothing of it outlives the tests, whatever ends them.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096
_PROGRAMS = ("unshare", "nsenter", "mount")
_KEEPER = 'mount -t tmpfs -o size="$1",mode=755 none "$0" && echo mounted && exec cat'


@dataclass(frozen=True)
class SmallDisk:
    """A mounted disk.

    Attributes
    ----------
    folder
        Where it is mounted; elsewhere than in its namespace the folder is empty.
    keeper
        Id of the process that keeps it.
    """

    folder: Path
    keeper: int

    def command(self, *arguments: object, folder: str = ".") -> list[str]:
        """Return a command such that it runs in a folder of the disk, and sees it."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return [
            # In a chroot, its root and working folder are others than those of its processes.
            *("nsenter", *user, "--mount", "--root", "--wd", "--target", str(self.keeper)),
            *("sh", "-c", 'cd "$0" && exec "$@"', str(self.folder / folder)),
            *map(str, arguments),
        ]

    def run(
        self, *arguments: object, folder: str = ".", seconds: float = 300, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and return what it said."""
        return subprocess.run(
            self.command(*arguments, folder=folder),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            **options,
        )

    @property
    def seen(self) -> Path:
        """The folder as other processes of the same user reach it."""
        return Path(f"/proc/{self.keeper}/root{self.folder}")

    def fill(self, left: int = 0) -> None:
        """Let a file take all of the disk but some pages."""
        fill(self.seen, left)

    def free(self) -> None:
        """Remove that file."""
        free(self.seen)

    def allow(self, writing: bool) -> None:
        """Mount it such that it can be written, or read only."""
        options = f"remount,bind,{'rw' if writing else 'ro'}"
        done = self.run("mount", "-o", options, str(self.folder), folder="/")
        assert done.returncode == 0, done.stderr


def fill(folder: Path, left: int = 0) -> None:
    """Let a file take all of a tmpfs but some pages: they are what it counts in."""
    free(folder)
    pages = shutil.disk_usage(folder).free // PAGE - left
    with (folder / "filler").open("wb") as filler:
        if pages > 0:
            os.posix_fallocate(filler.fileno(), 0, pages * PAGE)


def free(folder: Path) -> None:
    """Remove the file that takes all of a tmpfs."""
    (folder / "filler").unlink(missing_ok=True)


def reason_unavailable() -> str:
    """Return why no such disk can be had here, empty where it can."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)} (Linux, package util-linux)"
    tried = subprocess.run([*_unshared(), "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"no mount namespace: {tried.stderr.strip()}"


def _unshared() -> Sequence[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--mount", "--propagation", "private"]


@contextmanager
def small_disk(folder: Path, size: str = "32m") -> Iterator[SmallDisk]:
    """Mount a small disk on a folder, made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    with subprocess.Popen(
        [*_unshared(), "sh", "-c", _KEEPER, str(folder), size],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as keeper:
        assert keeper.stdin and keeper.stdout
        assert keeper.stdout.readline() == "mounted\n", "no tmpfs could be mounted"
        try:
            yield SmallDisk(folder, keeper.pid)
        finally:
            # The end of its input ends it, and so does the end of the tests, however they end.
            keeper.stdin.close()
            keeper.wait(timeout=20)
