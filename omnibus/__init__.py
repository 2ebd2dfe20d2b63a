"""What omnibus-gitlab must be told, as pure functions of the configuration. Never imports pulumi."""
