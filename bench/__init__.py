"""How fast it is, as ratios against something that is measured in the same run: `python -m bench`."""
