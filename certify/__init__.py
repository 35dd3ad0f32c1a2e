"""Parity certificates: research, sweep and live as processes on the same bars, compared."""
