"""DICOM as it comes over a wire: bodies cut into files, and what a file's header says of it."""
