"""What the machine gives: threads, files, processes."""
