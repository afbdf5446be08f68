"""An evaluation as people read it: figures, one Markdown page, the same page as one HTML file."""
