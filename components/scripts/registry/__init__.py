"""What runs on the host of a registry that is not omnibus'. Python 3.8 and its standard library."""
