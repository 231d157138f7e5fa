"""Past one machine: the jobs of a bench, and predictions of many images, through Ray.

`ray` comes with the extra of that name. It is imported when a `Cluster` is entered, not before.
"""
