"""From files to planes, stacks and volumes: what headers say, and how voxels are read."""
