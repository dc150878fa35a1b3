"""The operating system and the installation: files, signals, memory, processes, packages."""
