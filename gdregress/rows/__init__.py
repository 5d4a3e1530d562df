"""What is read: rows in blocks, their coordinates, what one block contributes, and threads."""
