"""Valid DICOM images of people who never lived."""
