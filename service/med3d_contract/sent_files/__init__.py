"""What people send: which file is what by its first bytes and its name, and archives unpacked by one set of rules."""
