"""How a global batch is cut into parts that devices can hold."""


def part_size(batch: int, most: int, group: int, devices: int) -> int | None:
    """Return how many samples a device computes on at a time, as many as may be; None if none may.

    All parts have this size. Devices take neighbouring parts in turn, so that a matching group lies in
    one part or spans parts of neighbouring devices.

    Parameters
    ----------
    batch
        Samples of the global batch.
    most
        Samples that a device can hold.
    group
        Consecutive samples that matching compares, 1 without matching.
    devices
        How many compute at the same time.
    """
    for size in range(min(most, batch // devices), 0, -1):
        whole_groups = size % group == 0 or (group % size == 0 and size * devices % group == 0)
        if batch % (size * devices) == 0 and whole_groups:
            return size
    return None
