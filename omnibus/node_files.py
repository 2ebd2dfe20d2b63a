"""Where the program keeps its files on a GitLab node."""

DIRECTORY = "/etc/gitlab/geo-registry"
"""Also in hosts/gitlab_node/files.rb, which does not need the payload to find its journal."""
