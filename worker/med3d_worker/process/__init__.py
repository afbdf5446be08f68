"""What a worker's process is before it works: threads, logs, messages, its store and its parent."""
