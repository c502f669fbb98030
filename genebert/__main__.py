"""``python -m genebert``."""

from genebert.cli import main

if __name__ == "__main__":
    main()
