"""How many tokens there are. No torch: plans count with it."""

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def vocabulary_size(k: int) -> int:
    """Return the number of tokens: the special ones, and every word of k bases."""
    return len(SPECIAL) + 4**k
