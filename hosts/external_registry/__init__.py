"""The program for the host of an external registry. Python 3.8 and its standard library."""
