"""What routes share of HTTP: bodies and their pace, conditional requests, ranges, pages of lists, security headers."""
