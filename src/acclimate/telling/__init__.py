"""What the figures of a run mean, in sentences, rows and HTML: the same in a terminal, on a page and in a notebook."""
