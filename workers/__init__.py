"""Processes: Celery workers that host Parrot's engines. See README.md."""
