"""The reference of the configuration, from the typed model: a page for people, a schema for editors."""
