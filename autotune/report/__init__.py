"""What people read: progress, the end of a sweep."""
