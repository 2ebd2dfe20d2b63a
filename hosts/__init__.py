"""What runs on hosts. `programs` has its text, which is sent to them; only tests import the rest."""
