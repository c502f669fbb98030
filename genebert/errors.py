"""The one exception that a user is meant to read."""


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
        self.what, self.fix, self.where = what, fix, where
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        return f"{self.what}{where}\nfix: {self.fix}"
