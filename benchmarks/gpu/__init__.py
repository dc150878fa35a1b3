"""Everything that only a GPU can show, in one command of minutes; see `__main__`."""
