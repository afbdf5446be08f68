"""What the service, its workers and its command line say to each other."""
