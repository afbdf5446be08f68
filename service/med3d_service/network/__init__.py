"""The DICOM nodes around the service: whom it knows, what it fetches, what it is sent."""
