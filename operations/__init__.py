"""What administrators run beside `pulumi up`: programs that connect to a stack's nodes themselves."""
