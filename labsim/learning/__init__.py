"""Exercises that are judged by the state of the hospital."""
