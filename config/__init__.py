"""What a person writes: the configuration of a stack, typed and checked. Pure, except stack.py."""
