"""The settings of the Linux package (gitlab.rb), as pure functions. Never imports pulumi."""
