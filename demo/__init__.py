"""The simulated shop with its known truth, a Tilda-like page, and the demo run."""
