"""The demo: a simulated shop with known ground truth, a page with Tilda's markup, and the import of their data."""
