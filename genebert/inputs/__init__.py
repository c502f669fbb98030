"""What comes from outside: the sheet of samples and peak files."""
