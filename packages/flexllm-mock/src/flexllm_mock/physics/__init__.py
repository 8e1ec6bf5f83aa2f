"""Times and limits: engines, queues, caches and token buckets."""
