"""Studies that come by themselves, instance by instance, and are run when they are complete."""
