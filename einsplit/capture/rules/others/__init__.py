"""What has no rule of its own: kernels of torch, with free labels where the operator leaves them free."""
