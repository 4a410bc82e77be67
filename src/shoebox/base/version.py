"""The version, in a place that every floor may read."""

VERSION = "0.1.0"
