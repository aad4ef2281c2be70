"""Many images: in this process, in several, or on a cluster; what was done is written down, so that it can go on."""
