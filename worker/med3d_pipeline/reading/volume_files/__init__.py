"""Files that hold one volume: NIfTI and FreeSurfer's, what they may be, and where their headers place them."""
