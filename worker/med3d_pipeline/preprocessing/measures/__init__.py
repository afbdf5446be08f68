"""What is measured on a head before anybody believes a number from it."""
