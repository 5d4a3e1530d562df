"""Descent: one loop, its rules, schedules and stopping criteria."""
