"""Corrections of patients from a hospital information system, without images: HL7 v2 ADT over MLLP."""
