"""What every optimizer receives: nodes folded into classes, what each may choose, and the tables of prices."""
