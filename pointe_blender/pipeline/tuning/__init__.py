"""Schedules found by search: the cheapest way through each stage that passes its level's quality gates."""
