"""Unified Procedure Steps (PS3.4 Annex CC): a list of work, and who may do what with it.

IHE actor: Task Manager (AI Workflow for Imaging). The same list is reached over
the web (UPS-RS, PS3.18 chapter 11) and by DIMSE.
"""
