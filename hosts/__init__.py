"""What runs on hosts. It is sent to them as text; only tests import it."""
