"""What goes over the loopback sockets: DICOM and HL7 v2."""
