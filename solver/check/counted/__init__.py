"""Seconds and bytes, counted anew: what each device does, holds and sends."""
