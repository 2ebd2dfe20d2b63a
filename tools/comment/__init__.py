"""The preview of a stack as a comment on a pull or merge request. Never imports pulumi."""
