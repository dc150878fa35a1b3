"""What the operating system and the installation offer: files, signals, memory, processes, packages."""
