"""The size of a batch's parts against trying every size and dealing every sample out."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from genebert.config.batches import part_size


def dealt(batch: int, size: int, devices: int) -> list[tuple[int, int]] | None:
    """Deal samples out in parts, to devices in turn: (round, device) of each; None with a rest."""
    samples = [(part // devices, part % devices) for part in range(batch // size) for _ in range(size)]
    whole = len(samples) == batch and (batch // size) % devices == 0
    return samples if whole else None


def keeps_groups(samples: list[tuple[int, int]], group: int) -> bool:
    """Return whether each matching group lies in one part, or is made of whole parts of one round."""
    size = samples.count(samples[0])
    for start in range(0, len(samples), group):
        members = samples[start : start + group]
        parts = set(members)
        in_one = len(parts) == 1
        of_whole = len({turn for turn, _ in members}) == 1 and len(members) == size * len(parts)
        if not (in_one or of_whole):
            return False
    return True


def by_trying(batch: int, most: int, group: int, devices: int) -> int | None:
    for size in range(most, 0, -1):
        samples = dealt(batch, size, devices) if size <= batch else None
        if samples and keeps_groups(samples, group):
            return size
    return None


@settings(max_examples=300, deadline=None)
@given(
    rounds=st.integers(1, 24),
    group=st.integers(1, 12),
    most=st.integers(1, 40),
    devices=st.integers(1, 6),
)
@example(rounds=4, group=8, most=4, devices=4)  # a group is on two of four devices
@example(rounds=1, group=12, most=4, devices=3)
@example(rounds=3, group=4, most=40, devices=2)
@example(rounds=16, group=1, most=64, devices=1)
def test_parts_are_as_large_as_devices_and_groups_allow(
    rounds: int, group: int, most: int, devices: int
) -> None:
    batch = rounds * group  # as the config demands
    assert part_size(batch, most, group, devices) == by_trying(batch, most, group, devices)
