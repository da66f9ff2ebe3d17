"""Configuration of what stands around Parrot: Redis, Celery, Flower."""
