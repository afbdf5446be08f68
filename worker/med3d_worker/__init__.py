"""The Celery edge of the pipeline: claims stages from the results API, runs them, publishes what came out."""
