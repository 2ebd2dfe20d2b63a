"""Setup and the engine, for the lab, for CI and for users who run the program from a checkout."""
