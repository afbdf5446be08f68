"""`med3d capacity`: how many workers, how much memory, disk and money so many studies a day take."""
