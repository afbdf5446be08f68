"""Fetching studies from peers: asked for by a person, by an Orthanc's hook, or found in an Orthanc's log of changes."""
