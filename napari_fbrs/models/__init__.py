"""Networks, and what reads and writes their files."""
