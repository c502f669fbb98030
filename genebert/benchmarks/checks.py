"""A row of the table of leaks."""

from dataclasses import dataclass

# Copies, overlaps, focal columns: one is one too many.
NONE = 0.0


@dataclass(frozen=True)
class Check:
    """A row of the table.

    Attributes
    ----------
    check
        Its name.
    value
        What was found; None where it cannot be told.
    limit
        Above it, the check is flagged; None where nothing is wrong with any value.
    meaning
        What the value is, and what it says.
    """

    check: str
    value: float | None
    limit: float | None
    meaning: str

    @property
    def flagged(self) -> bool:
        """Whether the value is above its limit."""
        return self.value is not None and self.limit is not None and self.value > self.limit
