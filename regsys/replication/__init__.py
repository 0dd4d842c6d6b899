"""Between master and workers: a worker's writer asks the master, whose resource calls its own."""
