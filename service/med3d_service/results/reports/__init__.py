"""What a run's answer looks like outside: DICOM SR, a page as PDF and as a picture, FHIR, the JSON of an event."""
