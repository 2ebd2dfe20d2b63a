"""What the CIs and a person run for a pull request: the preview as a comment. Never imports pulumi."""
