"""What may stop an order: gateway, switches, roll-out stages, the session's day."""
