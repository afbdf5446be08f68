"""A supervised number beside the latent: convolutional networks that learn age, each asked about heads it never saw.

Several networks are fitted, each to all parts of the training heads but one (cross-fitting; Chernozhukov et al.,
Econometrics Journal 2018). A new head's number is their mean; a training head's, which the regression heads learn
from, is that of the one network that has not seen it. So what the heads learn from is what they will be asked about.
This package needs torch, numpy and pydantic alone, so that it runs on a borrowed GPU.
"""
