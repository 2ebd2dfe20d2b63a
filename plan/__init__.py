"""What the configuration means: every default applied once, each part for one component. Pure."""
