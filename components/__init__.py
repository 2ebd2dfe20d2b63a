"""The resources: what is declared to Pulumi. Decides nothing about GitLab; that is `omnibus`."""
