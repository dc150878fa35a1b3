"""All measurements and checks that need a GPU, in one command of minutes; see `__main__`."""
