"""Which tasks should be trained together: affinities between tasks, and groups that make the most of them."""
