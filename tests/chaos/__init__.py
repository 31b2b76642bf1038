"""The main job under ``kill -9``: ``make chaos ARGS="--kills 100 --seed 1"``."""
