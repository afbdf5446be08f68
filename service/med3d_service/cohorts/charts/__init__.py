"""Charts of cohorts and people: as SVG to stand in a page, as figures for a paper."""
