"""DICOMweb (PS3.18): what systems offer over HTTP to those who hold a bearer token."""
