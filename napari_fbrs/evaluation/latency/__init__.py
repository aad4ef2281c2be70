"""What a click costs: the modes, the published way, RGB-BRS, the random walker and a SAM, in turn within one run."""
