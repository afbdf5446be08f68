"""The DICOM listener: C-ECHO and C-STORE as a service class provider, straight into studies.arrivals.

Association negotiation and its PDUs are pynetdicom's; the transfer itself is a loop of our own, one thread per
association, which seals an instance while it comes (docs/decisions/0060).
"""
