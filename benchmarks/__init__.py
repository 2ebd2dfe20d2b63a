"""`make bench`: the program, Ansible and bare SSH side by side, for the same result on lab nodes."""
