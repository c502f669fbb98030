import subprocess
import sys
from pathlib import Path

import pytest
import torch

from genebert.config import Compute
from genebert.errors import GenebertError
from genebert.torch_build import check_torch, torch_build

CPU_ONLY = torch.version.cuda is None and torch.version.hip is None


def test_the_build_is_told_as_torch_tells_it_without_importing_torch() -> None:
    script = (
        "import sys; from genebert.torch_build import *; b = torch_build()\n"
        "print(b['__version__'], b['cuda'], b['hip'], 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    known = (torch.__version__, torch.version.cuda, torch.version.hip, False)
    assert said.stdout.split() == list(map(str, known))


def test_no_torch_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(
        GenebertError, match=r"^torch is not installed\nfix: install it where the jobs run"
    ):
        check_torch(Compute())
    assert check_torch(Compute(gpus=0)) is None


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of one empty folder: neither a cluster nor a GPU."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(not CPU_ONLY, reason="torch is built for GPUs")
class TestOfACpuBuild:
    @pytest.mark.parametrize("asked", [{"require_gpu": True}, {"gpus": 2}, {"nodes": 2}])
    def test_it_is_refused_where_jobs_would_fail(self, asked: dict) -> None:
        with pytest.raises(GenebertError, match=r"built without CUDA[^\n]*\nfix: install a CUDA build"):
            check_torch(Compute(**asked))

    def test_it_is_fine_on_a_machine_without_gpus(self, path: Path) -> None:
        assert check_torch(Compute()) is None

    @pytest.mark.parametrize("program", ["sbatch", "nvidia-smi"])
    def test_it_is_warned_of_on_a_cluster_and_beside_a_gpu(self, path: Path, program: str) -> None:
        (path / program).touch(mode=0o755)
        warning = check_torch(Compute())
        assert warning is not None
        first, second = warning.splitlines()
        assert torch.__version__ in first
        assert second.startswith("fix: install a CUDA build")

    def test_it_may_compute_where_no_gpu_is_asked_for(self, path: Path) -> None:
        (path / "nvidia-smi").touch(mode=0o755)
        assert check_torch(Compute(gpus=0)) is None


@pytest.mark.skipif(CPU_ONLY, reason="torch is built for the CPU only")
def test_a_cuda_build_passes() -> None:
    assert torch_build()["cuda"] or torch_build()["hip"]
    assert check_torch(Compute(require_gpu=True)) is None
