"""Taking a study in: the form is read as it streams, unpacked, digested, sealed and recorded."""
