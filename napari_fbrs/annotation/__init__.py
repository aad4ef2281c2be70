"""Many planes, many objects: the session and its history."""
