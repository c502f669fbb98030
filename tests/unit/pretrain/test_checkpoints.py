"""Checkpoints: to the bit, whole or skipped, its own or refused, one run at a time."""

import errno
import fcntl
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from genebert.errors import GenebertError
from genebert.files import digest_of
from genebert.pretrain.checkpoints import Checkpoints, State, restore, tensors_of
from genebert.pretrain.schedule import adamw

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
IDENTITY = {
    "model settings": "aa",
    "pre-training settings": "bb",
    "corpus": "cc",
    "motif order": "dd",
    "seed": "1",
    "stage version": "2",
}
Forked = Callable[[Callable[[], None]], int]


def state(step: int, size: int = 50) -> State:
    """Return a state that says in each of its parts of which step it is."""
    return State(step, {"model.weight": torch.full((size,), float(step))}, {"rows": [[step, "train"]]})


def is_state(found: State | None, step: int) -> bool:
    """Whether a state is that of :func:`state`."""
    return (
        found is not None
        and (found.step, found.facts) == (step, {"rows": [[step, "train"]]})
        and list(found.tensors) == ["model.weight"]
        and bool((found.tensors["model.weight"] == step).all())
    )


def files(folder: Path) -> list[str]:
    """Return the names in a folder but the lock's, sorted."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def steps(folder: Path) -> list[int]:
    """Return the steps of all that is in a folder beside the lock."""
    return [int(name.removeprefix("step-").partition(".")[0]) for name in files(folder)]


def newest_path(folder: Path) -> Path:
    return max(folder.glob("step-*"))


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def own(parent: Path) -> Iterator[Checkpoints]:
    """Checkpoints in use."""
    with Checkpoints(parent, IDENTITY, 2) as checkpoints:
        yield checkpoints


@pytest.fixture
def forked() -> Iterator[Forked]:
    """Run a function in a process of its own that knows all that is loaded; return its number."""
    numbers: list[int] = []

    def fork(function: Callable[[], None]) -> int:
        number = os.fork()
        if number == 0:
            try:
                function()
            finally:
                os._exit(0)
        numbers.append(number)
        return number

    yield fork
    for number in numbers:
        try:
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


# What a network and its optimiser hold


class Odd(nn.Module):
    """A network of all that makes a state hard to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.coarse = nn.Linear(4, 4, dtype=torch.bfloat16)
        self.tied = nn.Linear(4, 7)
        self.tied.weight = self.embedding.weight
        self.turned = nn.Parameter(torch.randn(4, 3).T)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
        self.unused = nn.Linear(3, 3)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        hidden = self.coarse(self.embedding(ids).bfloat16()).float() * self.scale
        return self.tied(hidden).square().mean() + (hidden @ self.turned.T).sin().mean()


def train(model: nn.Module, optimiser: torch.optim.Optimizer, steps: range) -> None:
    device = next(model.parameters()).device
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        ids = torch.randint(0, 7, (5,), generator=generator).to(device)
        optimiser.zero_grad(set_to_none=True)
        model(ids).backward()
        optimiser.step()


def odd(device: str, seed: int) -> tuple[Odd, torch.optim.AdamW]:
    torch.manual_seed(seed)
    model = Odd().to(device)
    return model, adamw(model, 1e-2, 0.1)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("before", [0, 1, 4])
def test_training_goes_on_from_a_checkpoint_to_the_bit(
    own: Checkpoints, device: str, before: int
) -> None:
    model, optimiser = odd(device, seed=1)
    train(model, optimiser, range(before))
    own.save(State(before, tensors_of(model, optimiser), {}))
    found = own.newest()
    assert found is not None
    other, other_optimiser = odd(device, seed=2)
    train(other, other_optimiser, range(3))
    restore(other, other_optimiser, found.tensors)
    for _ in range(2):
        assert same(tensors_of(model, optimiser), tensors_of(other, other_optimiser))
        train(model, optimiser, range(before, before + 4))
        train(other, other_optimiser, range(before, before + 4))
    assert (before == 0) == all("optimiser" not in name for name in found.tensors)
    assert not any("unused" in name for name in found.tensors if "optimiser" in name)


def test_a_snapshot_does_not_follow_the_training() -> None:
    model, optimiser = odd("cpu", seed=1)
    train(model, optimiser, range(2))
    first = tensors_of(model, optimiser)
    again = tensors_of(model, optimiser)
    train(model, optimiser, range(2))
    assert same(first, again)
    assert not same(first, tensors_of(model, optimiser))


def test_what_was_restored_does_not_share_memory_with_the_checkpoint() -> None:
    model, optimiser = odd("cpu", seed=1)
    train(model, optimiser, range(2))
    tensors = tensors_of(model, optimiser)
    copies = {name: value.clone() for name, value in tensors.items()}
    restore(model, optimiser, tensors)
    train(model, optimiser, range(2))
    assert same(tensors, copies)


def test_names_of_the_caller_are_left_to_it() -> None:
    model, optimiser = odd("cpu", seed=1)
    restore(model, optimiser, tensors_of(model, optimiser) | {"sums.loss": torch.ones(3)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.turned", None),
        ("model.seen", None),
        ("optimiser.exp_avg.turned", None),
        ("optimiser.step.scale", None),
        ("model.more", torch.ones(3)),
        ("optimiser.exp_avg.more", torch.ones(3)),
        ("optimiser.exp_avg.frozen", torch.ones(3)),
        ("optimiser.exp_avg.unused.bias", torch.ones(3)),
        ("optimiser.max_exp_avg_sq.turned", torch.ones(3, 4)),
        ("model.turned", torch.ones(4, 3)),
        ("model.turned", torch.ones(3, 4).double()),
        ("model.coarse.bias", torch.ones(4)),
        ("optimiser.exp_avg_sq.turned", torch.ones(4, 3)),
        ("optimiser.exp_avg.coarse.bias", torch.ones(4)),
        ("optimiser.step.turned", torch.ones((), dtype=torch.int64)),
    ],
)
def test_tensors_of_another_network_are_refused_and_change_nothing(
    name: str, value: torch.Tensor | None
) -> None:
    model, optimiser = odd("cpu", seed=1)
    train(model, optimiser, range(2))
    tensors = tensors_of(model, optimiser)
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value
    other, other_optimiser = odd("cpu", seed=2)
    before = tensors_of(other, other_optimiser)
    with pytest.raises(GenebertError, match=r"differ in \d tensor"):
        restore(other, other_optimiser, tensors)
    assert same(tensors_of(other, other_optimiser), before)


# Saving and reading


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    step=st.integers(0, 10**7),
    facts=st.dictionaries(
        st.text(max_size=9),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=4),
            max_leaves=5,
        ),
        max_size=4,
    ),
    drawn=st.lists(
        st.tuples(
            st.sampled_from([torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8]),
            st.lists(st.integers(0, 4), max_size=3),
        ),
        max_size=4,
    ),
)
def test_any_state_reads_back(parent: Path, step: int, facts: Any, drawn: Any) -> None:
    tensors = {
        f"tensor {number}": (torch.randn(shape) * 100).to(dtype)
        for number, (dtype, shape) in enumerate(drawn)
    }
    with Checkpoints(parent, IDENTITY, 2) as checkpoints:
        assert checkpoints.save(State(step, tensors, facts))
        found = checkpoints.newest()
        assert found is not None
        assert (found.step, found.facts) == (step, facts)
        assert same(found.tensors, tensors)
        checkpoints.remove()


def test_a_history_larger_than_a_header_is_kept(own: Checkpoints) -> None:
    facts = {"rows": ["x" * 1000] * 110_000}
    assert own.save(State(1, {}, facts))
    found = own.newest()
    assert found is not None
    assert found.facts == facts


def test_there_is_no_checkpoint_before_the_first(parent: Path) -> None:
    checkpoints = Checkpoints(parent, IDENTITY, 2)
    assert checkpoints.newest() is None
    assert not parent.exists(), "who only reads makes nothing"
    with checkpoints:
        assert checkpoints.newest() is None


def test_the_newest_is_read_by_who_does_not_hold_the_lock(own: Checkpoints, parent: Path) -> None:
    own.save(state(3))
    assert is_state(Checkpoints(parent, IDENTITY, 2).newest(), 3)


@pytest.mark.parametrize("kept", [1, 3])
def test_the_newest_checkpoints_are_kept(parent: Path, kept: int) -> None:
    with Checkpoints(parent, IDENTITY, kept) as checkpoints:
        for step in (5, 10, 100, 1000):
            assert checkpoints.save(state(step))
            assert is_state(checkpoints.newest(), step)
            assert checkpoints.last == newest_path(checkpoints.folder)
        assert steps(checkpoints.folder) == [5, 10, 100, 1000][-kept:]


def test_a_state_may_be_saved_twice(own: Checkpoints) -> None:
    for step in (1, 2, 2):
        own.save(state(step))
    assert steps(own.folder) == [1, 2]


def test_checkpoints_can_be_read_by_whom_the_folder_is_open_to(parent: Path) -> None:
    before = os.umask(0o027)
    try:
        with Checkpoints(parent, IDENTITY, 2) as checkpoints:
            checkpoints.save(state(1))
    finally:
        os.umask(before)
    assert newest_path(checkpoints.folder).stat().st_mode & 0o777 == 0o640


def test_nothing_is_left_at_the_end(own: Checkpoints, parent: Path) -> None:
    own.save(state(1))
    own.remove()
    assert not parent.exists()
    with Checkpoints(parent, IDENTITY, 2) as anew:
        assert anew.newest() is None


def test_what_is_not_of_this_run_is_left_at_the_end(own: Checkpoints, parent: Path) -> None:
    (parent / "thesis.tex").write_text("years of work")
    own.save(state(1))
    own.remove()
    assert [path.name for path in parent.iterdir()] == ["thesis.tex"]


def test_what_cannot_be_removed_is_told(own: Checkpoints, capsys: pytest.CaptureFixture[str]) -> None:
    (own.folder / "thesis.tex").write_text("years of work")
    own.save(state(1))
    own.remove()
    assert f"left in {own.folder}: " in capsys.readouterr().err
    assert files(own.folder) == ["thesis.tex"]


# Damage


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << place % 8
    path.write_bytes(content)


def test_one_bit_that_has_changed_is_noticed_wherever_it_is(
    own: Checkpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    own.save(state(1))
    own.save(state(2))
    path = newest_path(own.folder)
    content = path.read_bytes()
    places = [*range(0, len(content), 5), len(content) - 1]
    for place in places:
        flip(path, place)
        assert is_state(own.newest(), 1), place
        path.write_bytes(content)
    assert capsys.readouterr().err.count(f"warning: the checkpoint {path} is damaged") == len(places)
    assert is_state(own.newest(), 2)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.999])
def test_a_truncated_checkpoint_is_skipped_for_the_one_before(
    own: Checkpoints, capsys: pytest.CaptureFixture[str], share: float
) -> None:
    own.save(state(1, 10_000))
    own.save(state(2, 10_000))
    path = newest_path(own.folder)
    os.truncate(path, int(path.stat().st_size * share))
    assert is_state(own.newest(), 1)
    assert own.last == min(own.folder.glob("step-*"))
    assert f"warning: the checkpoint {path} is damaged and skipped: its bytes" in capsys.readouterr().err
    # Training comes to the same state again, with the same name.
    own.save(state(2, 10_000))
    assert is_state(own.newest(), 2)
    assert steps(own.folder) == [1, 2]


def test_a_damaged_checkpoint_does_not_count_as_one_that_is_kept(own: Checkpoints) -> None:
    for step in (1, 2):
        own.save(state(step))
    flip(newest_path(own.folder), 100)
    assert is_state(own.newest(), 1)
    own.save(state(3))
    assert steps(own.folder) == [1, 3]


def test_without_a_whole_checkpoint_training_starts_anew(
    own: Checkpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (1, 2):
        own.save(state(step))
    for path in own.folder.glob("step-*"):
        flip(path, 100)
    assert own.newest() is None
    told = capsys.readouterr().err
    assert told.count("is damaged and skipped") == 2
    assert f"no checkpoint of {own.folder} is whole: training starts anew" in told
    own.save(state(1, 60))
    assert steps(own.folder) == [1], "the damaged ones are gone"


def test_checkpoints_of_a_future_that_is_no_more_do_not_push_out_the_present(own: Checkpoints) -> None:
    for step in (8, 9, 3):
        own.save(state(step))
    assert is_state(own.newest(), 3)


def test_what_a_killed_run_left_half_written_is_removed(parent: Path) -> None:
    with Checkpoints(parent, IDENTITY, 2) as checkpoints:
        checkpoints.save(state(1))
    left = checkpoints.folder / "saving.tmp"
    left.mkdir()
    (left / ".tmpABC").write_bytes(b"half")
    with checkpoints:
        assert steps(checkpoints.folder) == [1]


def test_a_run_killed_at_any_moment_leaves_what_it_had_saved(parent: Path, forked: Forked) -> None:
    size, rng, last = 500_000, random.Random(4), 0
    progress = parent.parent / "saved"
    progress.write_text("0")

    def save_on() -> None:
        with Checkpoints(parent, IDENTITY, 2) as checkpoints:
            for step in range(last + 1, 10_000):
                checkpoints.save(state(step, size))
                progress.write_text(f"{step}\n")

    caught = 0
    for _ in range(25):
        number = forked(save_on)
        time.sleep(rng.uniform(0.005, 0.08))
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
        checkpoints = Checkpoints(parent, IDENTITY, 2)
        caught += any(checkpoints.folder.glob("*.tmp"))
        saved = int(progress.read_text() or 0)
        found = checkpoints.newest()
        assert (found is None and saved == 0) or is_state(found, found.step if found else 0)
        last = found.step if found else 0
        assert last >= saved
        with checkpoints:
            assert not list(checkpoints.folder.glob("*.tmp"))
    assert caught >= 3, "some were killed in the middle of saving"
    assert last >= 10
    with checkpoints:
        checkpoints.save(state(last + 1))
        assert steps(checkpoints.folder) == [last, last + 1]


# The disk is full


@pytest.fixture
def largest_file() -> Iterator[Callable[[int], None]]:
    """Have the kernel refuse to write beyond so many bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_checkpoints_before(
    own: Checkpoints, largest_file: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (1, 2):
        assert own.save(state(step, 1_000_000))
    largest_file(2_000_000)
    assert not own.save(state(3, 1_000_000))
    told = capsys.readouterr().err
    assert f"warning: the checkpoint of step 3 could not be saved in {own.folder}: " in told
    assert "File too large" in told
    assert steps(own.folder) == [1, 2]
    assert is_state(own.newest(), 2)
    largest_file(8_000_000)
    assert own.save(state(4, 1_000_000))
    assert steps(own.folder) == [2, 4]


ON_A_SMALL_DISK = """
import sys, torch
from genebert.pretrain.checkpoints import Checkpoints, State
with Checkpoints(sys.argv[1], {"seed": "1"}, 5) as own:
    saved = [own.save(State(step, {"a": torch.ones(100_000)}, {})) for step in range(4)]
    print(saved, own.newest().step, len(list(own.folder.iterdir())))
"""


def test_a_disk_that_is_really_full_leaves_the_checkpoints_before(tmp_path: Path) -> None:
    own_mounts = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = 'mount -t tmpfs -o size=1m none "$0"'
    tried = subprocess.run([*own_mounts, mount, tmp_path], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("nothing can be mounted here")
    command = [*own_mounts, f'{mount} && "$1" -c "$2" "$0"', tmp_path, sys.executable, ON_A_SMALL_DISK]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "[True, True, False, False] 1 3\n", done.stderr
    assert done.stderr.count("No space left on device") == 2


# Whose checkpoints they are


@pytest.mark.parametrize("name", IDENTITY)
def test_a_checkpoint_of_something_else_is_refused_by_its_name(parent: Path, name: str) -> None:
    with Checkpoints(parent, IDENTITY | {name: "other"}, 2) as others:
        others.save(state(7))
    shutil.copytree(others.folder, parent / digest_of(IDENTITY))
    with Checkpoints(parent, IDENTITY, 2) as own:
        path = newest_path(own.folder)
        with pytest.raises(GenebertError) as told:
            own.newest()
    assert told.value.what == f"the checkpoint {path} was made with another {name}"
    assert str(path) in told.value.fix


def test_all_that_differs_is_named(own: Checkpoints, parent: Path) -> None:
    other = {name: value for name, value in IDENTITY.items() if name != "corpus"}
    with Checkpoints(parent, other | {"seed": "2", "initial weights": "ee"}, 2) as others:
        others.save(state(7))
    shutil.copy(newest_path(others.folder), own.folder)
    with pytest.raises(
        GenebertError, match="with another corpus, another initial weights, another seed"
    ):
        own.newest()


def test_checkpoints_of_something_else_are_told_of_and_left(
    parent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Checkpoints(parent, IDENTITY | {"corpus": "other"}, 2) as others:
        others.save(state(7, 250_000))
    with Checkpoints(parent, IDENTITY | {"seed": "other"}, 2):
        pass  # has none
    (parent / "thesis").mkdir()
    capsys.readouterr()
    with Checkpoints(parent, IDENTITY, 2) as own:
        told = capsys.readouterr().err
        assert told == (
            "not used: 1.0 MB of checkpoints made with another corpus; "
            f"if no run needs them: rm -r {others.folder}\n"
        )
        own.save(state(1))
        own.remove()
    assert is_state(others.newest(), 7)


def test_damaged_checkpoints_of_something_else_do_no_harm(own: Checkpoints, parent: Path) -> None:
    with Checkpoints(parent, IDENTITY | {"corpus": "other"}, 2) as others:
        others.save(state(7))
    os.truncate(newest_path(others.folder), 5)
    own.__exit__()
    with own:
        assert own.newest() is None


# One run at a time


def test_a_second_run_is_refused(own: Checkpoints, parent: Path) -> None:
    with (
        pytest.raises(GenebertError, match=f"another run .* {own.folder}"),
        Checkpoints(parent, IDENTITY, 2),
    ):
        pass
    assert own.save(state(1))
    own.__exit__()
    with Checkpoints(parent, IDENTITY, 2) as other:
        assert is_state(other.newest(), 1)


def test_a_killed_run_holds_no_lock(parent: Path, forked: Forked) -> None:
    ready, told = os.pipe()

    def hold() -> None:
        with Checkpoints(parent, IDENTITY, 2):
            os.write(told, b".")
            time.sleep(60)

    number = forked(hold)
    os.read(ready, 1)
    with pytest.raises(GenebertError, match="another run"), Checkpoints(parent, IDENTITY, 2):
        pass
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    with Checkpoints(parent, IDENTITY, 2) as own:
        assert own.save(state(1))


def test_the_lock_of_a_run_that_has_just_ended_is_none(
    own: Checkpoints, parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, ended = fcntl.flock, []

    def late(*arguments: Any) -> None:
        if not ended:
            ended.append((own.folder / ".lock").unlink())
            own.__exit__()
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", late)
    with (
        Checkpoints(parent, IDENTITY, 2),
        pytest.raises(GenebertError, match="another run"),
        Checkpoints(parent, IDENTITY, 2),
    ):
        pass


def test_without_locks_nothing_is_removed_that_may_be_in_use(
    parent: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    checkpoints = Checkpoints(parent, IDENTITY, 2)
    (checkpoints.folder / "saving.tmp").mkdir(parents=True)
    with checkpoints:
        assert f"warning: {checkpoints.folder} is on a disk without locks" in capsys.readouterr().err
        assert checkpoints.save(state(1))
        assert is_state(checkpoints.newest(), 1)
        assert "saving.tmp" in files(checkpoints.folder)


# Said before the training starts


def test_a_file_in_the_place_of_the_folder_is_refused(parent: Path) -> None:
    parent.write_text("years of work")
    with pytest.raises(GenebertError, match="cannot hold checkpoints: "), Checkpoints(parent, {}, 2):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("there_before", [False, True])
def test_a_folder_that_cannot_be_written_is_refused(parent: Path, there_before: bool) -> None:
    parent.mkdir()
    checkpoints = Checkpoints(parent, IDENTITY, 2)
    if there_before:
        with checkpoints:
            checkpoints.save(state(1))
        checkpoints.folder.chmod(0o555)
    parent.chmod(0o555)
    with pytest.raises(GenebertError, match="cannot hold checkpoints: Permission denied"), checkpoints:
        pass
    parent.chmod(0o755)
    if there_before:
        checkpoints.folder.chmod(0o755)
        with checkpoints:
            assert is_state(checkpoints.newest(), 1)
