"""Measurements. Each runs both sides in one go, keeps the raw data, and is judged by ratios. See README.md."""
