"""How a grid of patches is filled up to whole attention windows. No torch: plans count with it."""

from collections.abc import Sequence


def ceil_to(size: int, multiple: int) -> int:
    """Return the least multiple that is not below a size."""
    return -(-size // multiple) * multiple


def filled_up(rows: int, columns: int, window: Sequence[int]) -> tuple[int, int, int, int]:
    """Return the rows and columns of a grid filled up to whole windows, and a window's height and width.

    A window is no larger than the grid.
    """
    height, width = min(window[0], rows), min(window[1], columns)
    return ceil_to(rows, height), ceil_to(columns, width), height, width
