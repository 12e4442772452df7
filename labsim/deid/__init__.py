"""De-identification by the profiles of PS3.15 Annex E."""
